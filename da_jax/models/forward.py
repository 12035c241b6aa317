"""Forward passes: the one place that calls networks.

A network is any `flax.linen.Module` whose call on normalised images `[B, H, W, C]`
returns logits `[B, K]`, or logits and a dictionary of features. Its variables are in
the collections `params` and, with batch norm, `batch_stats`.
"""

import contextlib
import dataclasses
import inspect
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from da_jax.errors import UserError
from da_jax.models.network import Classifier, Network, Norm

Variables = dict[str, Any]
"""A network's `params` and `batch_stats`."""


class Outputs(NamedTuple):
    """A network's outputs for a batch.

    Attributes:
      logits: `[B, K]`.
      features: by name, see `da_jax.models.network.Stages`; empty for a network that
        returns logits alone.
    """

    logits: jax.Array
    features: dict[str, Any]


def initialize(network: nn.Module, key: jax.Array, images: jax.Array) -> Variables:
    """Initialises a network's variables, see `initialize_with_outputs`."""
    return initialize_with_outputs(network, key, images)[0]


def initialize_with_outputs(
    network: nn.Module, key: jax.Array, images: jax.Array
) -> tuple[Variables, Outputs]:
    """Initialises a network's variables, without a pmapped axis.

    Args:
      network: the network.
      key: a random key.
      images: normalised, `[B, H, W, C]`; only their shape and dtype matter.

    Returns:
      `params` and `batch_stats`, which is empty for a network without batch norm; and
      the outputs for the images.

    Raises:
      UserError: the network has other collections of variables, or doesn't return
        logits, or logits and features.
    """
    network = without_axis(network)
    with _precision(network):
        returned, variables = network.init_with_output(
            key, images, **_mode(network, train=False)
        )
    if other := sorted(variables.keys() - {"params", "batch_stats"}):
        raise UserError(
            f"{type(network).__name__} has variables in {', '.join(other)}; a network"
            " may have params and batch_stats"
        )
    complete = {"params": {}, "batch_stats": {}, **variables}
    return complete, _outputs(network, returned)


def norms_before_relu(network: nn.Module, params: Any) -> list[Norm]:
    """The batch norms before the stages' last ReLUs; none for a plain module."""
    return network.norms_before_relu(params) if isinstance(network, Network) else []


def classifier(network: nn.Module, variables: Variables) -> Classifier | None:
    """The parameters of a network's linear last layer; None for a plain module."""
    return network.classifier(variables) if isinstance(network, Network) else None


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

    Raises:
      UserError: the network doesn't return logits, or logits and features.
    """
    variables = {"params": params, "batch_stats": batch_stats}
    with _precision(network):
        returned, updated = network.apply(
            variables, images, **_mode(network, train=True), mutable=["batch_stats"]
        )
    return _outputs(network, returned), updated.get("batch_stats", {})


def eval_mode(
    network: nn.Module | None, variables: Variables | None, images: jax.Array
) -> Outputs:
    """Evaluates a network with batch norm normalised by the running statistics.

    Gradients reach the images, but not the network's variables.

    Args:
      network: the network.
      variables: its `params` and `batch_stats`.
      images: normalised, `[B, H, W, C]`.

    Raises:
      UserError: the network doesn't return logits, or logits and features.
    """
    assert network is not None and variables is not None, "there is no such network"
    variables = jax.lax.stop_gradient(variables)
    with _precision(network):
        returned = network.apply(variables, images, **_mode(network, train=False))
    return _outputs(network, returned)


def without_axis(network: nn.Module) -> nn.Module:
    """Returns a network for one device: batch norm has no pmapped axis."""
    parts = {
        field.name: getattr(network, field.name)
        for field in dataclasses.fields(network)
        if field.name != "parent"
    }
    changed: dict[str, Any] = {
        name: changed_part
        for name, part in parts.items()
        if isinstance(part, nn.Module)
        and (changed_part := without_axis(part)) is not part
    }
    if "axis_name" in parts:
        changed["axis_name"] = None
    return network.clone(**changed) if changed else network


def has_field(network: nn.Module, name: str) -> bool:
    """Whether a network has an attribute that `clone` can replace."""
    return name in {field.name for field in dataclasses.fields(network)}


def _mode(network: nn.Module, *, train: bool) -> dict[str, Any]:
    """The argument `train`, where the network's call takes it."""
    parameters = inspect.signature(type(network).__call__).parameters
    return {"train": train} if "train" in parameters else {}


def _precision(network: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Float32 products for a network that has no `precision` to set.

    JAX's default is less than float32 on most accelerators.
    """
    if has_field(network, "precision"):
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")


def _outputs(network: nn.Module, returned: Any) -> Outputs:
    match returned:
        case jax.Array():
            return Outputs(returned, {})
        case (jax.Array() as logits, dict() as features):
            return Outputs(logits, features)
    raise UserError(
        f"{type(network).__name__} returns {_described(returned)}; a network returns"
        " logits [B, K], or logits and a dictionary of features"
    )


def _described(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(type(part).__name__ for part in returned)})"
    return f"a {type(returned).__name__}"
