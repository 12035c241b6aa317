"""MobileNetV2 at half width, as mdistiller has it for CIFAR: `MobileNetV2`.

References:
  Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
  mdistiller, mdistiller/models/cifar/mobilenetv2.py.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.layers import (
    SMALL_NORMAL,
    BatchNorm,
    Dtype,
    Linear,
    conv,
    global_average,
)

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""(expansion, filters at full width, blocks, strides of the first) of each stage."""

FEATURE_STAGES = (1, 2, 4, 6)
"""The stages whose outputs are features."""

STEM_FILTERS = 32
LAST_FILTERS = 1280


class InvertedResidual(nn.Module):
    """1×1 up, 3×3 depthwise, 1×1 down without ReLU, and a shortcut where it fits."""

    expansion: int
    filters: int
    strides: int
    dtype: Dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H / strides, W / strides, filters]`."""
        layer = functools.partial(conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, self.dtype, self.axis_name)
        width = self.expansion * inputs.shape[-1]
        x = layer(width, 1, name="expand_conv")(inputs)
        x = nn.relu(norm(name="expand_bn")(x, train))
        x = layer(width, 3, self.strides, groups=width, name="depthwise_conv")(x)
        x = nn.relu(norm(name="depthwise_bn")(x, train))
        x = layer(self.filters, 1, name="project_conv")(x)
        x = norm(name="project_bn")(x, train)
        return x + inputs if x.shape == inputs.shape else x


class MobileNetV2(nn.Module):
    """A MobileNetV2; its stem halves the image.

    Attributes:
      width: factor of the filters, but for the last convolution's.
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    width: float = 0.5
    num_classes: int = 100
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Logits `[B, K]` and features of normalised images `[B, 32, 32, 3]`.

        Returns:
          The logits, and `feats` (the stem and the stages at 16, 8, 4 and 2 pixels,
          `[B, H, W, C]`), `preact_feats` (the same, as no ReLU follows a stage; the
          original has none) and `pooled_feat` `[B, C]`.
        """
        dtype, axis_name = self.dtype, self.axis_name
        stem_filters = int(STEM_FILTERS * self.width)
        x = conv(stem_filters, 3, 2, dtype=dtype, name="conv1")(images.astype(dtype))
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        feats = [x]
        for stage, (expansion, filters, blocks, first_strides) in enumerate(STAGES):
            for index in range(blocks):
                x = InvertedResidual(
                    expansion,
                    int(filters * self.width),
                    first_strides if index == 0 else 1,
                    dtype,
                    axis_name,
                    name=f"blocks{stage}_{index}",
                )(x, train)
            if stage in FEATURE_STAGES:
                feats.append(x)
        x = conv(LAST_FILTERS, 1, dtype=dtype, name="conv2")(x)
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn2")(x, train))
        pooled_feat = global_average(x)
        logits = Linear(
            self.num_classes,
            dtype,
            kernel_init=SMALL_NORMAL,
            bias_init=nn.initializers.zeros,
            name="classifier",
        )(pooled_feat)
        features = {"feats": feats, "preact_feats": feats, "pooled_feat": pooled_feat}
        return logits, features
