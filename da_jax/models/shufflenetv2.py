"""mdistiller's ShuffleNetV2 for CIFAR, at full width: `ShuffleV2`.

References:
  Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design,
  ECCV 2018.
  mdistiller, mdistiller/models/cifar/ShuffleNetv2.py.
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
STAGES = ((116, 4), (232, 8), (464, 4))
"""(filters, units) of each stage."""
LAST_FILTERS = 1024


class SplitUnit(Part):
    """A unit that convolves half of the channels and shuffles both halves."""

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Computes the outputs, and both halves before the last ReLU and the shuffle.

        Maps `[B, H, W, C]` to the same shape, twice.
        """
        unchanged, x = jnp.split(inputs, 2, axis=-1)
        half = x.shape[-1]
        x = nn.relu(self.norm("bn1")(self.conv(half, 1, name="conv1")(x), train))
        x = self.conv(half, 3, groups=half, name="conv2")(x)
        x = self.conv(half, 1, name="conv3")(self.norm("bn2")(x, train))
        preact = self.norm("bn3")(x, train)
        outputs = jnp.concatenate([unchanged, nn.relu(preact)], axis=-1)
        preact = jnp.concatenate([unchanged, preact], axis=-1)
        return channel_shuffle(outputs, 2), preact


class DownUnit(Part):
    """A unit of two branches at stride 2, concatenated and shuffled.

    Attributes:
      filters: width of the outputs.
    """

    filters: int

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H / 2, W / 2, filters]`."""
        width, half = inputs.shape[-1], self.filters // 2
        left = self.conv(width, 3, 2, groups=width, name="conv1")(inputs)
        left = self.conv(half, 1, name="conv2")(self.norm("bn1")(left, train))
        left = nn.relu(self.norm("bn2")(left, train))
        right = self.conv(half, 1, name="conv3")(inputs)
        right = nn.relu(self.norm("bn3")(right, train))
        right = self.conv(half, 3, 2, groups=half, name="conv4")(right)
        right = self.conv(half, 1, name="conv5")(self.norm("bn4")(right, train))
        right = nn.relu(self.norm("bn5")(right, train))
        return channel_shuffle(jnp.concatenate([left, right], axis=-1), 2)


class ShuffleNetV2(Network):
    """A ShuffleNetV2: three stages, at 16, 8 and 4 pixels."""

    kernel_init: Initializer = TORCH_UNIFORM

    CLASSIFIER = "linear"

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the stem and three stages.

        `preact_feats` are before the last ReLU and the shuffle.
        """
        x = self.conv(STEM_FILTERS, 1, name="conv1")(images)
        x = nn.relu(self.norm("bn1")(x, train))
        feats, preact_feats = [x], [x]
        for stage, (filters, units) in enumerate(STAGES, start=1):
            unit_0 = DownUnit(filters, **self.inherited, name=f"layer{stage}_0")
            x = unit_0(x, train)
            for index in range(1, units):
                unit = SplitUnit(**self.inherited, name=f"layer{stage}_{index}")
                x, preact = unit(x, train)
            feats.append(x)
            preact_feats.append(preact)
        x = self.conv(LAST_FILTERS, 1, name="conv2")(x)
        x = nn.relu(self.norm("bn2")(x, train))
        return Stages(feats, preact_feats, global_average(x), x)
