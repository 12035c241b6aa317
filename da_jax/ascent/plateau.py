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

    PyTorch reduces the learning rate after more than `patience` steps without a new
    best value, from the step *after* that value. `optax.contrib.reduce_on_plateau`
    reduces it one bad step earlier, and scales the update that comes with the value.

    Args:
      factor: multiplies the scale at each reduction, in (0, 1).
      patience: how many steps without a new best value are tolerated.
      rtol: a value is a new best if it is below best × (1 − `rtol`). For negative
        values that bound is above the best, so an equal value counts as a new best.
      cooldown: how many steps after a reduction aren't counted.
      min_scale: the lower bound of the scale.

    Returns:
      A transformation; `update` takes the minimised value as `value=`.

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
