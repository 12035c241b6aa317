"""ResNets: CIFAR's (`resnet8` … `resnet110`, `resnet8x4`, `resnet32x4`) and, in
ImageNet's style, `ResNet18` and `ResNet50`.

CIFAR's have three stages of basic blocks, at 32, 16 and 8 pixels; those of ImageNet's
style a fourth at 4, and a stem of 3×3 without pooling.

References:
  He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.
  mdistiller, mdistiller/models/cifar/resnet.py and resnetv2.py.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.layers import BatchNorm, Dtype, Linear, conv, global_average

NARROW = (16, 16, 32, 64)
"""Filters of the stem and of the stages."""
WIDE = (32, 64, 128, 256)
"""The same in the "x4" networks."""
IMAGENET = (64, 64, 128, 256, 512)
"""The same in ImageNet's style."""

BOTTLENECK_EXPANSION = 4


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
        preact = x + _shortcut(inputs, x, self.strides, dtype, axis_name, train)
        return nn.relu(preact), preact


class Bottleneck(nn.Module):
    """Convolutions of 1×1, 3×3 and 1×1 and a shortcut; four times `filters` wide."""

    filters: int
    strides: int
    dtype: Dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` to `[B, H / strides, W / strides, 4 × filters]`, twice."""
        dtype, axis_name = self.dtype, self.axis_name
        x = conv(self.filters, 1, dtype=dtype, name="conv1")(inputs)
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        x = conv(self.filters, 3, self.strides, dtype=dtype, name="conv2")(x)
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn2")(x, train))
        width = BOTTLENECK_EXPANSION * self.filters
        x = conv(width, 1, dtype=dtype, name="conv3")(x)
        x = BatchNorm(dtype, axis_name, name="bn3")(x, train)
        preact = x + _shortcut(inputs, x, self.strides, dtype, axis_name, train)
        return nn.relu(preact), preact


def _shortcut(
    inputs: jax.Array,
    outputs: jax.Array,
    strides: int,
    dtype: Dtype,
    axis_name: str | None,
    train: bool,
) -> jax.Array:
    """`inputs` as they are, or brought to the shape of a block's `outputs`."""
    width = outputs.shape[-1]
    if strides == 1 and inputs.shape[-1] == width:
        return inputs
    inputs = conv(width, 1, strides, dtype=dtype, name="downsample_conv")(inputs)
    return BatchNorm(dtype, axis_name, name="downsample_bn")(inputs, train)


class ResNet(nn.Module):
    """A ResNet.

    Attributes:
      blocks: how many in each stage.
      filters: of the stem and of the stages.
      block: `BasicBlock` or `Bottleneck`.
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    blocks: tuple[int, ...]
    filters: tuple[int, ...] = NARROW
    block: type[BasicBlock] | type[Bottleneck] = BasicBlock
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
        x = conv(self.filters[0], 3, dtype=dtype, name="conv1")(images.astype(dtype))
        x = nn.relu(BatchNorm(dtype, axis_name, name="bn1")(x, train))
        feats, preact_feats = [x], [x]
        stages = zip(self.blocks, self.filters[1:], strict=True)
        for stage, (blocks, filters) in enumerate(stages, start=1):
            for index in range(blocks):
                strides = 2 if stage > 1 and index == 0 else 1
                name = f"layer{stage}_{index}"
                block = self.block(filters, strides, dtype, axis_name, name=name)
                x, preact = block(x, train)
            feats.append(x)
            preact_feats.append(preact)
        pooled_feat = global_average(x)
        logits = Linear(self.num_classes, dtype, name="fc")(pooled_feat)
        features = {
            "feats": feats,
            "preact_feats": preact_feats,
            "pooled_feat": pooled_feat,
        }
        return logits, features


def cifar_resnet(
    depth: int, filters: tuple[int, ...] = NARROW, **attributes: Any
) -> ResNet:
    """CIFAR's ResNet of `depth` 6n + 2: three stages of n basic blocks."""
    return ResNet((depth // 6,) * 3, filters, **attributes)


ResNet18 = functools.partial(ResNet, (2, 2, 2, 2), IMAGENET)
ResNet50 = functools.partial(ResNet, (3, 4, 6, 3), IMAGENET, Bottleneck)
