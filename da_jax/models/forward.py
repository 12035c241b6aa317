"""Forward passes: a network and a batch to what the network returns."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax

Variables = dict[str, Any]
"""A network's `params` and `batch_stats`."""


class Outputs(NamedTuple):
    """What a network returns for a batch.

    Attributes:
      logits: `[B, K]`.
      features: by name, see `da_jax.models.network.Stages`.
    """

    logits: jax.Array
    features: dict[str, Any]


def train_mode(
    network: nn.Module, params: Any, batch_stats: Any, images: jax.Array
) -> tuple[Outputs, Any]:
    """Evaluates a network with batch norm normalised by the batch.

    Args:
      network: the network.
      params: its parameters.
      batch_stats: its running statistics before the batch.
      images: normalised, `[B, H, W, C]`.

    Returns:
      The outputs, and the running statistics after the batch.
    """
    variables = {"params": params, "batch_stats": batch_stats}
    outputs, moved = network.apply(
        variables, images, train=True, mutable=["batch_stats"]
    )
    return Outputs(*outputs), moved["batch_stats"]


def eval_mode(
    network: nn.Module | None, variables: Variables | None, images: jax.Array
) -> Outputs:
    """Evaluates a network with batch norm normalised by the running statistics.

    Gradients reach the images, but not the network's variables.

    Args:
      network: the network.
      variables: its `params` and `batch_stats`.
      images: normalised, `[B, H, W, C]`.
    """
    assert network is not None and variables is not None, "there is no such network"
    variables = jax.lax.stop_gradient(variables)
    return Outputs(*network.apply(variables, images, train=False))
