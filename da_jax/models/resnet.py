"""ResNets: `resnet8` … `resnet110`, `resnet8x4`, `resnet32x4`, `ResNet18`, `ResNet50`.

CIFAR's ResNets have three stages of basic blocks, at 32, 16 and 8 pixels. `ResNet18`
and `ResNet50` are ImageNet's, with a fourth stage at 4 pixels and a stem of 3×3 without
pooling.

References:
  He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.
  mdistiller, mdistiller/models/cifar/resnet.py and resnetv2.py.
"""

import functools
from typing import Any

import flax.linen as nn
import jax

from da_jax.models.layers import global_average
from da_jax.models.network import Network, Part, Stages

NARROW = (16, 16, 32, 64)
"""Filters of the stem and of each stage."""
WIDE = (32, 64, 128, 256)
"""The same for `resnet8x4` and `resnet32x4`."""
IMAGENET = (64, 64, 128, 256, 512)
"""The same for `ResNet18` and `ResNet50`."""

BOTTLENECK_EXPANSION = 4


class Block(Part):
    """A residual block: a branch of convolutions and a shortcut.

    Attributes:
      filters: of its 3×3 convolutions.
      strides: of its first 3×3 convolution and of the shortcut.
    """

    filters: int
    strides: int

    def branch(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H / strides, W / strides, width]`."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Computes the outputs after and before the last ReLU.

        Maps `[B, H, W, C]` to `[B, H / strides, W / strides, width]`, twice.
        """
        x = self.branch(inputs, train)
        width = x.shape[-1]
        if self.strides != 1 or inputs.shape[-1] != width:
            inputs = self.conv(width, 1, self.strides, name="downsample_conv")(inputs)
            inputs = self.norm("downsample_bn")(inputs, train)
        preact = x + inputs
        return nn.relu(preact), preact


class BasicBlock(Block):
    """A block of two 3×3 convolutions, with outputs of width `filters`."""

    def branch(self, inputs: jax.Array, train: bool) -> jax.Array:
        """See `Block`."""
        x = self.conv(self.filters, 3, self.strides, name="conv1")(inputs)
        x = nn.relu(self.norm("bn1")(x, train))
        x = self.conv(self.filters, 3, name="conv2")(x)
        return self.norm("bn2")(x, train)


class Bottleneck(Block):
    """A block of 1×1, 3×3 and 1×1 convolutions, with outputs of width 4 `filters`."""

    def branch(self, inputs: jax.Array, train: bool) -> jax.Array:
        """See `Block`."""
        x = self.conv(self.filters, 1, name="conv1")(inputs)
        x = nn.relu(self.norm("bn1")(x, train))
        x = self.conv(self.filters, 3, self.strides, name="conv2")(x)
        x = nn.relu(self.norm("bn2")(x, train))
        x = self.conv(BOTTLENECK_EXPANSION * self.filters, 1, name="conv3")(x)
        return self.norm("bn3")(x, train)


class ResNet(Network):
    """A ResNet.

    Attributes:
      blocks: number of blocks in each stage.
      filters: of the stem and of each stage.
      block: `BasicBlock` or `Bottleneck`.
    """

    blocks: tuple[int, ...]
    filters: tuple[int, ...] = NARROW
    block: type[Block] = BasicBlock

    @property
    def norm_paths(self) -> list[tuple[str, str]]:
        """See `Network`."""
        last = "bn3" if self.block is Bottleneck else "bn2"
        return [
            (f"layer{stage}_{blocks - 1}", last)
            for stage, blocks in enumerate(self.blocks, start=1)
        ]

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the stem and three or four stages."""
        x = self.conv(self.filters[0], 3, name="conv1")(images)
        x = nn.relu(self.norm("bn1")(x, train))
        feats, preact_feats = [x], [x]
        for stage, (blocks, filters) in enumerate(
            zip(self.blocks, self.filters[1:], strict=True), start=1
        ):
            for index in range(blocks):
                strides = 2 if stage > 1 and index == 0 else 1
                name = f"layer{stage}_{index}"
                block = self.block(filters, strides, **self.inherited, name=name)
                x, preact = block(x, train)
            feats.append(x)
            preact_feats.append(preact)
        return Stages(feats, preact_feats, global_average(x), x)


def cifar_resnet(
    depth: int, filters: tuple[int, ...] = NARROW, **attributes: Any
) -> ResNet:
    """Creates CIFAR's ResNet of `depth` 6n + 2: three stages of n basic blocks."""
    return ResNet((depth // 6,) * 3, filters, **attributes)


ResNet18 = functools.partial(ResNet, (2, 2, 2, 2), IMAGENET)
ResNet50 = functools.partial(ResNet, (3, 4, 6, 3), IMAGENET, Bottleneck)
