"""Networks with the classifier of another network, as SimKD trains them.

References:
  Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022.
  DefangChen/SimKD, models/util.py (SimKD).
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.errors import UserError
from da_jax.models.layers import (
    TORCH_UNIFORM,
    Dtype,
    average_pool,
    global_average,
    parameter_dtype,
)
from da_jax.models.network import Classifier, Network, Norm, Part, Precision, Stages

NARROWING = 2
"""How many times narrower a projector is inside."""


class Projector(Part):
    """1×1, 3×3 and 1×1 convolutions, each with batch norm and ReLU.

    Attributes:
      filters: width of the outputs.
    """

    filters: int

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, C]` to `[B, H, W, filters]`."""
        narrow = self.filters // NARROWING
        x = self.conv(narrow, 1, name="conv1")(inputs)
        x = nn.relu(self.norm("bn1")(x, train))
        x = self.conv(narrow, 3, name="conv2")(x)
        x = nn.relu(self.norm("bn2")(x, train))
        x = self.conv(self.filters, 1, name="conv3")(x)
        return nn.relu(self.norm("bn3")(x, train))


class FixedLinear(nn.Module):
    """A linear layer that isn't trained: its parameters are in `batch_stats`.

    Attributes:
      features: width of the outputs.
      dtype: parameters have it, or float32 if it is smaller.
      precision: of the product.
    """

    features: int
    dtype: Dtype = jnp.float32
    precision: Precision = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `[B, in]` to `[B, features]`, at least in float32."""
        dtype = parameter_dtype(self.dtype)
        shape = inputs.shape[-1], self.features
        kernel = self.variable("batch_stats", "kernel", jnp.zeros, shape, dtype)
        bias = self.variable("batch_stats", "bias", jnp.zeros, shape[1:], dtype)
        product = jnp.matmul(
            inputs.astype(dtype), kernel.value, precision=self.precision
        )
        return product + bias.value


class ReusedClassifier(Network):
    """The stages of one network, a projector and the classifier of another.

    The projector maps the last stage to the last map of the other network, averaged
    over the pixels to that size if it is larger. The classifier isn't trained: it is
    zero until `with_classifier` sets it.

    Attributes:
      backbone: the network without its own classifier.
      donor: the other network, for the shape of its last map.
    """

    backbone: Network
    donor: Network

    CLASSIFIER = "classifier"

    @property
    def norm_paths(self) -> list[tuple[str, str]]:
        """See `Network`; in the backbone."""
        return self.backbone.norm_paths

    def norms_before_relu(self, params: Any) -> list[Norm]:
        """See `Network`."""
        return self.backbone.norms_before_relu(params["backbone"])

    def classifier(self, variables: Mapping[str, Any]) -> Classifier:
        """See `Network`."""
        return Classifier(**variables["batch_stats"][self.CLASSIFIER])

    def with_classifier(self, batch_stats: Any, classifier: Classifier) -> Any:
        """Returns `batch_stats` with another network's classifier."""
        old = Classifier(**batch_stats[self.CLASSIFIER])
        new = jax.tree.map(lambda leaf, to: leaf.astype(to.dtype), classifier, old)
        return {**batch_stats, self.CLASSIFIER: new._asdict()}

    def stages(self, images: jax.Array, train: bool) -> Stages:
        """Computes the backbone's stages, and their projection as the last map."""
        _, features = self.backbone(images, train)
        height, width, filters = _last_map_shape(self.donor, images.shape[1:])
        last = features["feats"][-1]
        if last.shape[1] > height:
            last = average_pool(last, height, width)
        inherited: dict[str, Any] = {**self.inherited, "kernel_init": TORCH_UNIFORM}
        x = Projector(filters, **inherited, name="projector")(last, train)
        feats, preact_feats = features["feats"], features["preact_feats"]
        return Stages(feats, preact_feats, global_average(x), x)

    def classify(self, pooled_feat: jax.Array) -> jax.Array:
        """Computes the logits by the other network's classifier."""
        return FixedLinear(
            self.num_classes, self.dtype, self.precision, name=self.CLASSIFIER
        )(pooled_feat)


def reuse_classifier(
    names: tuple[str, str], backbone: nn.Module, donor: nn.Module, **attributes: Any
) -> ReusedClassifier:
    """Creates a network with the classifier of `donor`.

    Args:
      names: of both networks, for the message.
      backbone: created with `num_classes` 0.
      donor: the other network.
      attributes: of `Network`.

    Raises:
      UserError: one of them returns no feature maps.
    """
    for name, network in zip(names, (backbone, donor), strict=True):
        if not isinstance(network, Network):
            raise UserError(
                f"{name} returns no feature maps, which the reuse of a classifier"
                " needs; make it a subclass of da_jax.models.Network"
            )
    assert isinstance(backbone, Network) and isinstance(donor, Network)
    return ReusedClassifier(backbone=backbone, donor=donor, **attributes)


def _last_map_shape(
    network: Network, image_shape: tuple[int, ...]
) -> tuple[int, int, int]:
    """Returns height, width and filters of a network's last map.

    Raises:
      UserError: it has none.
    """
    return _shape(network.clone(parent=None, name=None), image_shape)


@functools.cache
def _shape(network: Network, image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    def features() -> dict[str, Any]:
        images = jnp.zeros((1, *image_shape), network.dtype)
        (_, found), _ = network.init_with_output(jax.random.key(0), images)
        return dict(found)

    shapes = jax.eval_shape(features)
    if "last_map" not in shapes:
        raise UserError(
            f"{type(network).__name__} returns no last_map, which the reuse of its"
            " classifier needs; see da_jax.models.Stages"
        )
    _, height, width, filters = shapes["last_map"].shape
    return height, width, filters
