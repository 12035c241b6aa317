"""A network's outputs for a whole test set."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from da_jax.analysis.pretrained import Pretrained
from da_jax.data import Dataset
from da_jax.data.preprocessing import Preprocessing
from da_jax.models.forward import Variables, eval_mode

BATCH_SIZE = 500
"""The batch size of the forward passes."""


class Predictions(NamedTuple):
    """The outputs for N test images, in their order.

    Attributes:
      logits: `[N, K]`.
      features: `[N, C]`, the input of the last layer; None for a network that returns
        logits alone.
    """

    logits: np.ndarray
    features: np.ndarray | None

    def is_right(self, labels: np.ndarray | jax.Array) -> np.ndarray:
        """Returns whether the likeliest class is the label, bool `[N]`."""
        return self.logits.argmax(axis=-1) == np.asarray(labels)


def predict(network: Pretrained, dataset: Dataset) -> Predictions:
    """Evaluates a network on the whole test set; the outputs are on the host."""
    images = dataset.test.images
    batches = [
        _forward(
            network.network,
            dataset.preprocessing,
            network.variables,
            jnp.asarray(images[start : start + BATCH_SIZE]),
        )
        for start in range(0, len(images), BATCH_SIZE)
    ]
    together: Predictions = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), *batches
    )
    return together


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(
    network: nn.Module,
    preprocessing: Preprocessing,
    variables: Variables,
    images: jax.Array,
) -> Predictions:
    normalized = preprocessing.normalize(images, jnp.float32)
    outputs: Any = eval_mode(network, variables, normalized)
    return Predictions(outputs.logits, outputs.features.get("pooled_feat"))
