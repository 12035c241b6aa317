"""VGG with batch norm: `vgg8`, `vgg11`, `vgg13`, `vgg16`, `vgg19`.

References:
  Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015.
  mdistiller, mdistiller/models/cifar/vgg.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from da_jax.models.layers import SMALL_NORMAL, global_average
from da_jax.models.network import Network, Stages

FILTERS = (64, 128, 256, 512, 512)


class VGG(Network):
    """A VGG: five blocks of 3×3 convolutions, at 32, 16, 8, 4 and 4 pixels.

    Attributes:
      convolutions: number of convolutions in each block.
    """

    convolutions: tuple[int, int, int, int, int]

    CLASSIFIER = "classifier"
    CLASSIFIER_INIT: ClassVar = {
        "kernel_init": SMALL_NORMAL,
        "bias_init": nn.initializers.zeros,
    }

    @property
    def norm_paths(self) -> list[tuple[str, str]]:
        """See `Network`."""
        blocks = list(enumerate(self.convolutions))[1:]
        return [("", f"block{block}_bn{count - 1}") for block, count in blocks]

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the five blocks; the first is the stem."""
        x = images
        feats, preact_feats = [], []
        for block, convolutions in enumerate(self.convolutions):
            if 1 <= block <= 3:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for index in range(convolutions):
                name = f"block{block}_conv{index}"
                x = self.conv(FILTERS[block], 3, use_bias=True, name=name)(x)
                preact = self.norm(f"block{block}_bn{index}")(x, train)
                x = nn.relu(preact)
            feats.append(x)
            preact_feats.append(preact if block else x)
        return Stages(feats, preact_feats, global_average(x), x)
