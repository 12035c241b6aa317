"""The CIFAR ResNets: `resnet8` … `resnet110`, `resnet8x4`, `resnet32x4`.

Depth is 6n + 2: three stages of n basic blocks, at 32, 16 and 8 pixels.

References:
  He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
  mdistiller, mdistiller/models/cifar/resnet.py.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.layers import BatchNorm, Dtype, Linear, conv

NARROW = (16, 16, 32, 64)
"""Filters of the stem and of the three stages."""
WIDE = (32, 64, 128, 256)
"""The same in the "x4" networks."""


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; returns the output after and before ReLU."""

    filters: int
    strides: int
    dtype: Dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` to `[B, H / strides, W / strides, filters]`, twice."""
        dtype, axis_name = self.dtype, self.axis_name
        x = conv(self.filters, 3, self.strides, dtype=dtype, name="conv1")(inputs)
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        x = conv(self.filters, 3, dtype=dtype, name="conv2")(x)
        x = BatchNorm(dtype, axis_name, name="bn2")(x, train)
        if self.strides != 1 or inputs.shape[-1] != self.filters:
            inputs = conv(
                self.filters, 1, self.strides, dtype=dtype, name="downsample_conv"
            )(inputs)
            inputs = BatchNorm(dtype, axis_name, name="downsample_bn")(inputs, train)
        preact = x + inputs
        return nn.relu(preact), preact


class ResNet(nn.Module):
    """A CIFAR ResNet of basic blocks.

    Attributes:
      depth: 6n + 2 layers.
      filters: of the stem and of the three stages.
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    depth: int
    filters: tuple[int, int, int, int] = NARROW
    num_classes: int = 100
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Logits `[B, K]` and features of normalised images `[B, 32, 32, 3]`.

        Returns:
          The logits, and `feats` and `preact_feats` (the stem and the three stages,
          `[B, H, W, C]`, after and before the last ReLU) and `pooled_feat` `[B, C]`.
        """
        dtype, axis_name = self.dtype, self.axis_name
        x = conv(self.filters[0], 3, dtype=dtype, name="conv1")(images.astype(dtype))
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        feats, preact_feats = [x], [x]
        blocks = (self.depth - 2) // 6
        for stage, filters in enumerate(self.filters[1:], start=1):
            for block in range(blocks):
                strides = 2 if stage > 1 and block == 0 else 1
                name = f"layer{stage}_{block}"
                x, preact = BasicBlock(filters, strides, dtype, axis_name, name=name)(
                    x, train
                )
            feats.append(x)
            preact_feats.append(preact)
        pooled_feat = jnp.mean(x, axis=(1, 2))
        logits = Linear(self.num_classes, dtype, name="fc")(pooled_feat)
        features = {
            "feats": feats,
            "preact_feats": preact_feats,
            "pooled_feat": pooled_feat,
        }
        return logits, features
