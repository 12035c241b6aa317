"""PyTorch's ReduceLROnPlateau as an optax transformation."""

from typing import Any

import jax
import optax
from optax.contrib import ReduceLROnPlateauState


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    cooldown: int = 0,
    min_scale: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Scales updates down when `value` stops falling, as `ReduceLROnPlateau` does.

    PyTorch cuts the learning rate after more than `patience` steps without a new best
    value, and the cut reaches the step *after* the one whose value it saw.
    `optax.contrib.reduce_on_plateau` cuts one bad step earlier and scales the very
    update that it is given the value of.

    Args:
      factor: by which the scale is multiplied at a cut, in (0, 1).
      patience: steps without a new best value that are tolerated.
      rtol: a value is a new best where it is below best × (1 − `rtol`). For negative
        values that bound is above the best, so an equal value counts as a new best.
      cooldown: steps after a cut that aren't counted.
      min_scale: the scale is never smaller.

    Returns:
      A transformation whose `update` takes `value=`, what is minimised.

    Raises:
      ValueError: `factor` or `rtol` is out of range.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> import da_jax
      >>> optimizer = optax.chain(
      ...     optax.sgd(1.0), da_jax.reduce_on_plateau(patience=0)
      ... )
      >>> state = optimizer.init(jnp.zeros(()))
      >>> for value in (3.0, 3.0, 3.0):
      ...     update, state = optimizer.update(jnp.ones(()), state, value=value)
      ...     print(f"{update:.2f}")
      -1.00
      -1.00
      -0.10

    References:
      torch.optim.lr_scheduler.ReduceLROnPlateau, mode "min", threshold_mode "rel".
    """
    inner = optax.contrib.reduce_on_plateau(
        factor=factor,
        patience=patience + 1,
        rtol=rtol,
        cooldown=cooldown,
        min_scale=min_scale,
    )

    def update(
        updates: optax.Updates,
        state: ReduceLROnPlateauState,
        params: optax.Params | None = None,
        *,
        value: jax.typing.ArrayLike,
        **extra: Any,
    ) -> tuple[optax.Updates, ReduceLROnPlateauState]:
        del params, extra
        _, after = inner.update(updates, state, value=value)
        scaled = jax.tree.map(lambda leaf: state.scale * leaf, updates)
        return scaled, after

    return optax.GradientTransformationExtraArgs(inner.init, update)
