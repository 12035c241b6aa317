"""Wide ResNets: `wrn_16_1`, `wrn_16_2`, `wrn_40_1`, `wrn_40_2` (depth, width).

References:
  Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016.
  mdistiller, mdistiller/models/cifar/wrn.py.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.layers import BatchNorm, Dtype, Linear, conv, global_average

TWICE = 0.9**2
"""Momentum of the batch norms that follow a stage. The original's forward calls them a
second time for `preact_feats`, which moves their running statistics twice a batch."""


class PreactivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3×3 convolutions, and a shortcut."""

    filters: int
    strides: int
    dtype: Dtype
    axis_name: str | None
    first_momentum: float = 0.9

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` to `[B, H / strides, W / strides, filters]`.

        Returns:
          The outputs, and the normalised inputs `[B, H, W, C]`.
        """
        dtype, axis_name = self.dtype, self.axis_name
        norm = BatchNorm(dtype, axis_name, self.first_momentum, name="bn1")
        normalized = norm(inputs, train)
        active = nn.relu(normalized)
        x = conv(self.filters, 3, self.strides, dtype=dtype, name="conv1")(active)
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn2")(x, train))
        x = conv(self.filters, 3, dtype=dtype, name="conv2")(x)
        if inputs.shape[-1] == self.filters:
            return inputs + x, normalized
        shortcut = conv(self.filters, 1, self.strides, dtype=dtype, name="shortcut")
        return shortcut(active) + x, normalized


class WideResNet(nn.Module):
    """A Wide ResNet: three stages, at 32, 16 and 8 pixels.

    Attributes:
      depth: 6n + 4, with n blocks in each stage.
      width: of the stages, in 16, 32 and 64 filters.
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    depth: int
    width: int
    num_classes: int = 100
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Logits `[B, K]` and features of normalised images `[B, 32, 32, 3]`.

        Returns:
          The logits, and `feats` (the stem and the stages, `[B, H, W, C]`),
          `preact_feats` (the stem, and the stages through the batch norm that follows
          them) and `pooled_feat` `[B, C]`.
        """
        dtype, axis_name = self.dtype, self.axis_name
        x = conv(16, 3, dtype=dtype, name="conv1")(images.astype(dtype))
        feats, preact_feats = [x], [x]
        for stage in (1, 2, 3):
            for index in range((self.depth - 4) // 6):
                follows_stage = stage > 1 and index == 0
                x, normalized = PreactivationBlock(
                    filters=16 * 2 ** (stage - 1) * self.width,
                    strides=2 if follows_stage else 1,
                    dtype=dtype,
                    axis_name=axis_name,
                    first_momentum=TWICE if follows_stage else 0.9,
                    name=f"block{stage}_{index}",
                )(x, train)
                if follows_stage:
                    preact_feats.append(normalized)
            feats.append(x)
        normalized = BatchNorm(dtype, axis_name, TWICE, name="bn1")(x, train)
        preact_feats.append(normalized)
        pooled_feat = global_average(nn.relu(normalized))
        logits = Linear(
            self.num_classes, dtype, bias_init=nn.initializers.zeros, name="fc"
        )(pooled_feat)
        features = {
            "feats": feats,
            "preact_feats": preact_feats,
            "pooled_feat": pooled_feat,
        }
        return logits, features
