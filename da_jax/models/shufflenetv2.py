"""ShuffleNetV2 at full width, as mdistiller has it for CIFAR: `ShuffleV2`.

References:
  Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design,
  ECCV 2018.
  mdistiller, mdistiller/models/cifar/ShuffleNetv2.py.
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
FILTERS = (116, 232, 464)
BLOCKS = (4, 8, 4)
LAST_FILTERS = 1024


class SplitUnit(nn.Module):
    """Half of the channels pass, half are convolved; then both are shuffled.

    Returns the output, and the halves before the ReLU and the shuffle.
    """

    dtype: Dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` to the same shape, twice."""
        layer = functools.partial(conv, kernel_init=TORCH_UNIFORM, dtype=self.dtype)
        norm = functools.partial(BatchNorm, self.dtype, self.axis_name)
        passed, x = jnp.split(inputs, 2, axis=-1)
        half = x.shape[-1]
        x = nn.relu(norm(name="bn1")(layer(half, 1, name="conv1")(x), train))
        x = layer(half, 3, groups=half, name="conv2")(x)
        x = layer(half, 1, name="conv3")(norm(name="bn2")(x, train))
        preact = norm(name="bn3")(x, train)
        outputs = jnp.concatenate([passed, nn.relu(preact)], axis=-1)
        preact = jnp.concatenate([passed, preact], axis=-1)
        return channel_shuffle(outputs, 2), preact


class DownUnit(nn.Module):
    """Two branches at stride 2, half of `filters` each, shuffled."""

    filters: int
    dtype: Dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H / 2, W / 2, filters]`."""
        layer = functools.partial(conv, kernel_init=TORCH_UNIFORM, dtype=self.dtype)
        norm = functools.partial(BatchNorm, self.dtype, self.axis_name)
        width, half = inputs.shape[-1], self.filters // 2
        left = layer(width, 3, 2, groups=width, name="conv1")(inputs)
        left = layer(half, 1, name="conv2")(norm(name="bn1")(left, train))
        left = nn.relu(norm(name="bn2")(left, train))
        right = layer(half, 1, name="conv3")(inputs)
        right = nn.relu(norm(name="bn3")(right, train))
        right = layer(half, 3, 2, groups=half, name="conv4")(right)
        right = layer(half, 1, name="conv5")(norm(name="bn4")(right, train))
        right = nn.relu(norm(name="bn5")(right, train))
        return channel_shuffle(jnp.concatenate([left, right], axis=-1), 2)


class ShuffleNetV2(nn.Module):
    """A ShuffleNetV2: three stages, at 16, 8 and 4 pixels.

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
          The logits, and `feats` (the stem and the stages, `[B, H, W, C]`),
          `preact_feats` (the same before the last unit's ReLU and shuffle) and
          `pooled_feat` `[B, C]`.
        """
        dtype, axis_name = self.dtype, self.axis_name
        layer = functools.partial(conv, kernel_init=TORCH_UNIFORM, dtype=dtype)
        x = layer(STEM_FILTERS, 1, name="conv1")(images.astype(dtype))
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        feats, preact_feats = [x], [x]
        for stage, (filters, blocks) in enumerate(
            zip(FILTERS, BLOCKS, strict=True), start=1
        ):
            x = DownUnit(filters, dtype, axis_name, name=f"layer{stage}_0")(x, train)
            for index in range(1, blocks):
                unit = SplitUnit(dtype, axis_name, name=f"layer{stage}_{index}")
                x, preact = unit(x, train)
            feats.append(x)
            preact_feats.append(preact)
        x = layer(LAST_FILTERS, 1, name="conv2")(x)
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn2")(x, train))
        pooled_feat = global_average(x)
        logits = Linear(self.num_classes, dtype, name="linear")(pooled_feat)
        features = {
            "feats": feats,
            "preact_feats": preact_feats,
            "pooled_feat": pooled_feat,
        }
        return logits, features
