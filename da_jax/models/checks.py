"""What a run asks of its networks, checked by their shapes before anything compiles."""

from collections.abc import Callable
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.errors import UserError
from da_jax.models.forward import (
    Variables,
    has_field,
    initialize,
    train_mode,
    without_axis,
)
from da_jax.models.network import Network

IMAGE_SHAPE = (32, 32, 3)


def check_logits(
    name: str,
    network: nn.Module,
    num_classes: int,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
) -> None:
    """Checks that a network returns a logit for each class.

    Args:
      name: the network's, for the message.
      network: a network of any axis.
      num_classes: the data set's.
      image_shape: `(H, W, C)`.

    Raises:
      UserError: it returns logits of another shape, or something else, or needs random
        numbers in train mode.
    """
    if isinstance(network, Network):
        return  # `num_classes` is its attribute
    network = without_axis(network)

    def logits(variables: Variables, images: jax.Array) -> jax.Array:
        params, batch_stats = variables["params"], variables["batch_stats"]
        return train_mode(network, params, batch_stats, images)[0].logits

    try:
        found = _shapes(network, image_shape, logits).shape
    except flax.errors.InvalidRngError as error:
        raise UserError(
            f"{name} needs random numbers in train mode, such as dropout's, which"
            " networks don't get; leave it out"
        ) from error
    if found != (1, num_classes):
        raise UserError(
            f"{name} returns logits {list(found)} of one image, but there are"
            f" {num_classes} classes; give it a field `num_classes`, or as many outputs"
        )


def check_axis(
    name: str,
    network: nn.Module,
    axis_name: str | None,
    num_devices: int,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
) -> None:
    """Checks that batch norm can take its statistics over all devices.

    Args:
      name: the network's, for the message.
      network: the network.
      axis_name: the pmapped axis the batch is split over, or None.
      num_devices: how many devices the batch is split over.
      image_shape: `(H, W, C)`.

    Raises:
      UserError: it has batch norm, but no field `axis_name`, and there are several
        devices.
    """
    if axis_name is None or num_devices == 1 or has_field(network, "axis_name"):
        return
    if _shapes(network, image_shape, lambda variables, _: variables["batch_stats"]):
        raise UserError(
            f"{name} has batch norm, whose statistics it can't take over {num_devices}"
            " devices; give it a field `axis_name` and pass that to its batch norms, or"
            " use one device or --config.parallel=seeds"
        )


def _shapes(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    function: Callable[[Variables, jax.Array], Any],
) -> Any:
    """The shapes of a function of an initialised network's variables and an image."""

    def initialized() -> Any:
        images = jnp.zeros((1, *image_shape))
        return function(initialize(network, jax.random.key(0), images), images)

    return jax.eval_shape(initialized)
