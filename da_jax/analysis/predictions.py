"""What a network makes of every image of a data set."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from da_jax.analysis.pretrained import Pretrained
from da_jax.data import Dataset
from da_jax.data.preprocessing import Preprocessing
from da_jax.training.state import Variables

BATCH_SIZE = 500
"""At most, of a device."""


class Predictions(NamedTuple):
    """Of the N test images, in their order.

    Attributes:
      logits: `[N, K]`.
      features: `[N, C]`, what the last layer classifies.
    """

    logits: np.ndarray
    features: np.ndarray

    def is_right(self, labels: np.ndarray | jax.Array) -> np.ndarray:
        """Of which images the likeliest class is their label, bool `[N]`."""
        return self.logits.argmax(axis=-1) == np.asarray(labels)


def predict(network: Pretrained, dataset: Dataset) -> Predictions:
    """The outputs for the whole test set, on the host."""
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
    outputs: Any = network.apply(variables, normalized, train=False)
    logits, features = outputs
    return Predictions(logits, features["pooled_feat"])
