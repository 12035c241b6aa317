"""mdistiller's MobileNetV2 for CIFAR, at half width: `MobileNetV2`.

References:
  Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
  mdistiller, mdistiller/models/cifar/mobilenetv2.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from da_jax.models.layers import SMALL_NORMAL, global_average
from da_jax.models.network import Network, Part, Stages

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""(expansion, filters at full width, blocks, stride of the first) of each stage."""

FEATURE_STAGES = (1, 2, 4, 6)
"""The stages whose outputs are features."""

STEM_FILTERS = 32
LAST_FILTERS = 1280


class InvertedResidual(Part):
    """1×1 expansion, 3×3 depthwise, 1×1 projection, and a shortcut if shapes agree.

    Attributes:
      expansion: width of the depthwise convolution, relative to the inputs'.
      filters: width of the outputs.
      strides: of the depthwise convolution.
    """

    expansion: int
    filters: int
    strides: int

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H / strides, W / strides, filters]`."""
        width = self.expansion * inputs.shape[-1]
        x = self.conv(width, 1, name="expand_conv")(inputs)
        x = nn.relu(self.norm("expand_bn")(x, train))
        x = self.conv(width, 3, self.strides, groups=width, name="depthwise_conv")(x)
        x = nn.relu(self.norm("depthwise_bn")(x, train))
        x = self.conv(self.filters, 1, name="project_conv")(x)
        x = self.norm("project_bn")(x, train)
        return x + inputs if x.shape == inputs.shape else x


class MobileNetV2(Network):
    """A MobileNetV2; its stem halves the size of the image.

    Attributes:
      width: factor of the filters, except for the last convolution's.
    """

    width: float = 0.5

    CLASSIFIER = "classifier"
    CLASSIFIER_INIT: ClassVar = {
        "kernel_init": SMALL_NORMAL,
        "bias_init": nn.initializers.zeros,
    }

    @property
    def norm_paths(self) -> list[tuple[str, str]]:
        """See `Network`; these end a stage, and no ReLU follows them."""
        last = {stage: STAGES[stage][2] - 1 for stage in FEATURE_STAGES}
        return [(f"blocks{stage}_{last[stage]}", "project_bn") for stage in last]

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the stem and the stages at 16, 8, 4 and 2 pixels.

        No ReLU follows a stage, so `preact_feats` are `feats`; mdistiller has none.
        """
        x = self.conv(int(STEM_FILTERS * self.width), 3, 2, name="conv1")(images)
        x = nn.relu(self.norm("bn1")(x, train))
        feats = [x]
        for stage, (expansion, filters, blocks, first_strides) in enumerate(STAGES):
            for index in range(blocks):
                x = InvertedResidual(
                    expansion,
                    int(filters * self.width),
                    first_strides if index == 0 else 1,
                    **self.inherited,
                    name=f"blocks{stage}_{index}",
                )(x, train)
            if stage in FEATURE_STAGES:
                feats.append(x)
        x = self.conv(LAST_FILTERS, 1, name="conv2")(x)
        x = nn.relu(self.norm("bn2")(x, train))
        return Stages(feats, feats, global_average(x), x)
