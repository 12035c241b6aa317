"""VGG with batch norm: `vgg8`, `vgg11`, `vgg13`, `vgg16`, `vgg19`.

References:
  Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015.
  mdistiller, mdistiller/models/cifar/vgg.py.
"""

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

FILTERS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """A VGG: five blocks of 3×3 convolutions, at 32, 16, 8, 4 and 4 pixels.

    Attributes:
      convolutions: how many in each block.
      num_classes: width of the logits.
      dtype: of the activations; parameters are float32, or float64 with it.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    convolutions: tuple[int, int, int, int, int]
    num_classes: int = 100
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Logits `[B, K]` and features of normalised images `[B, 32, 32, 3]`.

        Returns:
          The logits, and `feats` and `preact_feats` (the blocks, `[B, H, W, C]`, after
          and before the last ReLU; the first after it in both) and `pooled_feat`
          `[B, C]`.
        """
        x = images.astype(self.dtype)
        feats, preact_feats = [], []
        for block in range(5):
            if 1 <= block <= 3:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for index in range(self.convolutions[block]):
                preact = self._conv_bn(f"block{block}", index, FILTERS[block], x, train)
                x = nn.relu(preact)
            feats.append(x)
            preact_feats.append(preact if block else x)
        pooled_feat = global_average(x)
        logits = Linear(
            self.num_classes,
            self.dtype,
            kernel_init=SMALL_NORMAL,
            bias_init=nn.initializers.zeros,
            name="classifier",
        )(pooled_feat)
        features = {
            "feats": feats,
            "preact_feats": preact_feats,
            "pooled_feat": pooled_feat,
        }
        return logits, features

    def _conv_bn(
        self, block: str, index: int, filters: int, inputs: jax.Array, train: bool
    ) -> jax.Array:
        x = conv(
            filters, 3, use_bias=True, dtype=self.dtype, name=f"{block}_conv{index}"
        )(inputs)
        norm = BatchNorm(self.dtype, self.axis_name, name=f"{block}_bn{index}")
        return norm(x, train)
