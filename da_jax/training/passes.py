"""A network's passes over a batch."""

from typing import Any

import flax.linen as nn
import jax

from da_jax.methods import Outputs
from da_jax.training.state import Variables


def train_mode(
    network: nn.Module, params: Any, batch_stats: Any, images: jax.Array
) -> tuple[Outputs, Any]:
    """Of images `[B, H, W, C]`, normalised by their own statistics.

    Returns:
      What the network says, and its running statistics after the batch.
    """
    variables = {"params": params, "batch_stats": batch_stats}
    outputs, moved = network.apply(
        variables, images, train=True, mutable=["batch_stats"]
    )
    return Outputs(*outputs), moved["batch_stats"]


def eval_mode(
    network: nn.Module | None, variables: Variables | None, images: jax.Array
) -> Outputs:
    """Of images `[B, H, W, C]`, normalised by the running statistics.

    Gradients reach the images, but not the network's variables.
    """
    assert network is not None and variables is not None, "there is no such network"
    variables = jax.lax.stop_gradient(variables)
    return Outputs(*network.apply(variables, images, train=False))
