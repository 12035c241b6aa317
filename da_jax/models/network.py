"""The base class of the architectures: interface, precision and layers."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.models.convolution import Precision
from da_jax.models.layers import (
    KAIMING_NORMAL,
    BatchNorm,
    Dtype,
    Initializer,
    Linear,
    conv,
)

PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": jnp.float32, "precision": "highest"},
    "tensorfloat32": {"dtype": jnp.float32, "precision": "tensorfloat32"},
    "bfloat16": {"dtype": jnp.bfloat16, "precision": "highest"},
}
"""A network's `dtype` and `precision`, by the config's name for them.

float32 is float32 on every device. tensorfloat32 rounds the factors of products to 10
bits of mantissa on GPUs that support it, as PyTorch's convolutions do by default; other
devices use float32 or another precision above bfloat16. bfloat16 has activations with 7
bits, but parameters, batch statistics and logits in float32.
"""


class Part(nn.Module, kw_only=True):
    """A network, a block of one, or a distillation method.

    Attributes:
      dtype: of the activations; parameters are float32, or float64 with it.
      precision: of the products, as in `jax.lax`; None is the device's default.
      axis_name: the pmapped axis the batch is split over, or None.
      kernel_init: of the convolutions.
    """

    dtype: Dtype = jnp.float32
    precision: Precision = None
    axis_name: str | None = None
    kernel_init: Initializer = KAIMING_NORMAL

    @property
    def inherited(self) -> dict[str, Any]:
        """The attributes that a network passes to its blocks."""
        names = ("dtype", "precision", "axis_name", "kernel_init")
        return {name: getattr(self, name) for name in names}

    def conv(
        self, features: int, kernel_size: int, strides: int = 1, **options: Any
    ) -> nn.Conv:
        """Creates a `layers.conv` with this part's precision and initialisation."""
        return conv(
            features,
            kernel_size,
            strides,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            precision=self.precision,
            **options,
        )

    def norm(self, name: str, momentum: float = 0.9) -> BatchNorm:
        """Creates a `layers.BatchNorm` with this part's dtype and axis."""
        return BatchNorm(self.dtype, self.axis_name, momentum, name=name)


class Norm(NamedTuple):
    """A batch norm's parameters, `[C]` each."""

    scale: jax.Array
    bias: jax.Array


class Classifier(NamedTuple):
    """The parameters of a network's last layer, `[C, K]` and `[K]`."""

    kernel: jax.Array
    bias: jax.Array


class Stages(NamedTuple):
    """A network's features.

    Attributes:
      feats: the outputs of the stem and of each stage, `[B, H, W, C]`.
      preact_feats: the same before the last ReLU; the first is that of `feats`.
      pooled_feat: the classifier's inputs, `[B, C]`.
      last_map: of which `pooled_feat` is the mean over the pixels, `[B, H, W, C]`; None
        for a network without one.
    """

    feats: list[jax.Array]
    preact_feats: list[jax.Array]
    pooled_feat: jax.Array
    last_map: jax.Array | None = None


class Network(Part, kw_only=True):
    """An architecture; subclasses define `stages` and, for OFD, `norm_paths`.

    Attributes:
      num_classes: width of the logits; with 0 there is no classifier, and the logits
        are `pooled_feat`.
    """

    num_classes: int = 100

    CLASSIFIER: ClassVar[str] = "fc"
    """Name of the last layer."""
    CLASSIFIER_INIT: ClassVar[dict[str, Any]] = {}
    """`kernel_init` and `bias_init` of the last layer, if they aren't PyTorch's."""

    @property
    def norm_paths(self) -> list[tuple[str, str]]:
        """The batch norms before the stages' last ReLUs, without the stem's.

        Each is the name of a block and of its batch norm; "" if it is in no block.
        """
        return []

    def norms_before_relu(self, params: Any) -> list[Norm]:
        """Returns the parameters of the batch norms at `norm_paths`."""
        blocks = [
            (params[block] if block else params, n) for block, n in self.norm_paths
        ]
        return [Norm(block[n]["scale"], block[n]["bias"]) for block, n in blocks]

    def classifier(self, variables: Mapping[str, Any]) -> Classifier | None:
        """Returns the parameters of the last layer; None if it isn't linear."""
        found = variables["params"].get(self.CLASSIFIER, {})
        is_linear = found.keys() == set(Classifier._fields)
        return Classifier(**found) if is_linear else None

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the features of images `[B, 32, 32, 3]`."""
        raise NotImplementedError

    def classify(self, pooled_feat: jax.Array) -> jax.Array:
        """Computes the logits."""
        if not self.num_classes:
            return pooled_feat
        return Linear(
            self.num_classes,
            self.dtype,
            self.precision,
            **self.CLASSIFIER_INIT,
            name=self.CLASSIFIER,
        )(pooled_feat)

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Computes logits and features.

        Args:
          images: normalised, `[B, 32, 32, 3]`.
          train: whether batch norm normalises by the batch.

        Returns:
          The logits `[B, K]`, and the fields of `Stages` that aren't None.
        """
        stages = self.stages(images.astype(self.dtype), train)
        features = {k: v for k, v in stages._asdict().items() if v is not None}
        return self.classify(stages.pooled_feat), features
