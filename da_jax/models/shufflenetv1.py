"""ShuffleNet of three groups, as mdistiller has it for CIFAR: `ShuffleV1`.

References:
  Zhang et al., ShuffleNet, CVPR 2018.
  mdistiller, mdistiller/models/cifar/ShuffleNetv1.py.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.layers import (
    TORCH_UNIFORM,
    BatchNorm,
    Dtype,
    Linear,
    channel_shuffle,
    conv,
    global_average,
)

STEM_FILTERS = 24
FILTERS = (240, 480, 960)
BLOCKS = (4, 8, 4)
GROUPS = 3


class ShuffleUnit(nn.Module):
    """1×1 in groups, shuffle, 3×3 depthwise, 1×1 in groups; added to the input, or at
    stride 2 put beside its average. Returns the output after and before ReLU."""

    filters: int
    strides: int
    groups: int
    dtype: Dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` to `[B, H / strides, W / strides, filters]`, twice."""
        layer = functools.partial(conv, kernel_init=TORCH_UNIFORM, dtype=self.dtype)
        norm = functools.partial(BatchNorm, self.dtype, self.axis_name)
        filters = self.filters - (inputs.shape[-1] if self.strides == 2 else 0)
        narrow = filters // 4
        x = layer(narrow, 1, groups=self.groups, name="conv1")(inputs)
        x = nn.relu(norm(name="bn1")(x, train))
        x = channel_shuffle(x, self.groups)
        x = layer(narrow, 3, self.strides, groups=narrow, name="conv2")(x)
        x = nn.relu(norm(name="bn2")(x, train))
        x = layer(filters, 1, groups=GROUPS, name="conv3")(x)
        x = norm(name="bn3")(x, train)
        if self.strides == 2:
            averages = nn.avg_pool(inputs, (3, 3), (2, 2), ((1, 1), (1, 1)))
            preact = jnp.concatenate([x, averages], axis=-1)
        else:
            preact = x + inputs
        return nn.relu(preact), preact


class ShuffleNetV1(nn.Module):
    """A ShuffleNet: three stages, at 16, 8 and 4 pixels.

    Attributes:
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    num_classes: int = 100
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Logits `[B, K]` and features of normalised images `[B, 32, 32, 3]`.

        Returns:
          The logits, and `feats` and `preact_feats` (the stem and the stages,
          `[B, H, W, C]`, after and before the last ReLU) and `pooled_feat` `[B, C]`.
        """
        dtype, axis_name = self.dtype, self.axis_name
        x = conv(STEM_FILTERS, 1, kernel_init=TORCH_UNIFORM, dtype=dtype, name="conv1")(
            images.astype(dtype)
        )
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        feats, preact_feats = [x], [x]
        for stage, (filters, blocks) in enumerate(
            zip(FILTERS, BLOCKS, strict=True), start=1
        ):
            for index in range(blocks):
                x, preact = ShuffleUnit(
                    filters,
                    strides=2 if index == 0 else 1,
                    groups=1 if stage == 1 and index == 0 else GROUPS,
                    dtype=dtype,
                    axis_name=axis_name,
                    name=f"layer{stage}_{index}",
                )(x, train)
            feats.append(x)
            preact_feats.append(preact)
        pooled_feat = global_average(x)
        logits = Linear(self.num_classes, dtype, name="linear")(pooled_feat)
        features = {
            "feats": feats,
            "preact_feats": preact_feats,
            "pooled_feat": pooled_feat,
        }
        return logits, features
