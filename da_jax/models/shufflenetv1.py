"""mdistiller's ShuffleNet for CIFAR, with three groups: `ShuffleV1`.

References:
  Zhang et al., ShuffleNet, CVPR 2018.
  mdistiller, mdistiller/models/cifar/ShuffleNetv1.py.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.layers import (
    TORCH_UNIFORM,
    Initializer,
    channel_shuffle,
    global_average,
)
from da_jax.models.network import Network, Part, Stages

STEM_FILTERS = 24
STAGES = ((240, 4), (480, 8), (960, 4))
"""(filters, units) of each stage."""
GROUPS = 3


class ShuffleUnit(Part):
    """1×1 grouped convolution, shuffle, 3×3 depthwise and 1×1 grouped convolution.

    The result is added to the inputs or, at stride 2, concatenated with their average.

    Attributes:
      filters: width of the outputs.
      strides: of the depthwise convolution.
      first_groups: groups of the first convolution.
    """

    filters: int
    strides: int
    first_groups: int

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Computes the outputs after and before the last ReLU.

        Maps `[B, H, W, C]` to `[B, H / strides, W / strides, filters]`, twice.
        """
        filters = self.filters - (inputs.shape[-1] if self.strides == 2 else 0)
        narrow = filters // 4
        x = self.conv(narrow, 1, groups=self.first_groups, name="conv1")(inputs)
        x = nn.relu(self.norm("bn1")(x, train))
        x = channel_shuffle(x, self.first_groups)
        x = self.conv(narrow, 3, self.strides, groups=narrow, name="conv2")(x)
        x = nn.relu(self.norm("bn2")(x, train))
        x = self.conv(filters, 1, groups=GROUPS, name="conv3")(x)
        x = self.norm("bn3")(x, train)
        if self.strides == 2:
            averages = nn.avg_pool(inputs, (3, 3), (2, 2), ((1, 1), (1, 1)))
            preact = jnp.concatenate([x, averages], axis=-1)
        else:
            preact = x + inputs
        return nn.relu(preact), preact


class ShuffleNetV1(Network):
    """A ShuffleNet: three stages, at 16, 8 and 4 pixels."""

    kernel_init: Initializer = TORCH_UNIFORM

    CLASSIFIER = "linear"

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the stem and three stages."""
        x = self.conv(STEM_FILTERS, 1, name="conv1")(images)
        x = nn.relu(self.norm("bn1")(x, train))
        feats, preact_feats = [x], [x]
        for stage, (filters, units) in enumerate(STAGES, start=1):
            for index in range(units):
                x, preact = ShuffleUnit(
                    filters,
                    strides=2 if index == 0 else 1,
                    first_groups=1 if stage == 1 and index == 0 else GROUPS,
                    **self.inherited,
                    name=f"layer{stage}_{index}",
                )(x, train)
            feats.append(x)
            preact_feats.append(preact)
        return Stages(feats, preact_feats, global_average(x), x)
