"""Wide ResNets: `wrn_16_1`, `wrn_16_2`, `wrn_40_1`, `wrn_40_2` (depth, width).

References:
  Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016.
  mdistiller, mdistiller/models/cifar/wrn.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from da_jax.models.layers import global_average
from da_jax.models.network import Network, Part, Stages

TWICE = 0.9**2
"""Momentum of the batch norms that follow a stage. mdistiller's forward pass calls them
again for `preact_feats`, which updates their running statistics twice per batch."""


class PreactivationBlock(Part):
    """Batch norm and ReLU before each of two 3×3 convolutions, and a shortcut.

    Attributes:
      filters: width of the outputs.
      strides: of the first convolution and of the shortcut.
      first_momentum: of the first batch norm.
    """

    filters: int
    strides: int
    first_momentum: float

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Maps `[B, H, W, C]` to `[B, H / strides, W / strides, filters]`.

        Returns:
          The outputs, and the normalised inputs `[B, H, W, C]`.
        """
        normalized = self.norm("bn1", self.first_momentum)(inputs, train)
        active = nn.relu(normalized)
        x = self.conv(self.filters, 3, self.strides, name="conv1")(active)
        x = nn.relu(self.norm("bn2")(x, train))
        x = self.conv(self.filters, 3, name="conv2")(x)
        if inputs.shape[-1] == self.filters:
            return inputs + x, normalized
        shortcut = self.conv(self.filters, 1, self.strides, name="shortcut")(active)
        return shortcut + x, normalized


class WideResNet(Network):
    """A Wide ResNet: three stages, at 32, 16 and 8 pixels.

    Attributes:
      depth: 6n + 4, with n blocks in each stage.
      width: factor of the stages' 16, 32 and 64 filters.
    """

    depth: int
    width: int

    CLASSIFIER_INIT: ClassVar = {"bias_init": nn.initializers.zeros}

    @property
    def norm_paths(self) -> list[tuple[str, str]]:
        """See `Network`."""
        return [("block2_0", "bn1"), ("block3_0", "bn1"), ("", "bn1")]

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the stem and three stages.

        `preact_feats` are the outputs of the batch norm that follows a stage.
        """
        x = self.conv(16, 3, name="conv1")(images)
        feats, preact_feats = [x], [x]
        for stage in (1, 2, 3):
            for index in range((self.depth - 4) // 6):
                follows_stage = stage > 1 and index == 0
                x, normalized = PreactivationBlock(
                    filters=16 * 2 ** (stage - 1) * self.width,
                    strides=2 if follows_stage else 1,
                    first_momentum=TWICE if follows_stage else 0.9,
                    **self.inherited,
                    name=f"block{stage}_{index}",
                )(x, train)
                if follows_stage:
                    preact_feats.append(normalized)
            feats.append(x)
        normalized = self.norm("bn1", TWICE)(x, train)
        preact_feats.append(normalized)
        x = nn.relu(normalized)
        return Stages(feats, preact_feats, global_average(x), x)
