"""The Distillation-Oriented Trainer (DOT), an optimizer with two momenta."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Scalar = jax.typing.ArrayLike

Mask = Callable[[Any], Any] | None
"""Maps parameters to the tree of booleans that optax's masks are; None is all True."""


class Gradients(NamedTuple):
    """The gradients of the cross-entropy, and of all other terms of a loss."""

    task: Any
    distillation: Any


def dot(
    learning_rate: Scalar,
    momentum: Scalar,
    weight_decay: Scalar,
    delta: Scalar,
    mask: Mask = None,
) -> optax.GradientTransformation:
    """The Distillation-Oriented Trainer: a momentum for each of the two `Gradients`.

    The momentum is `momentum` − `delta` for the task and `momentum` + `delta` for the
    distillation; a parameter with only one of the gradients has `momentum`. The decay
    joins the task's gradient, or the distillation's where there is no other. A gradient
    that is zero throughout counts as absent.

    Args:
      learning_rate: of the step.
      momentum: see above.
      weight_decay: of the parameters in `mask`.
      delta: see above.
      mask: as in `optax.add_decayed_weights`.

    References:
      Zhao et al., DOT: A Distillation-Oriented Trainer, ICCV 2023.
      mdistiller, mdistiller/engine/dot.py.
    """
    decay_weights = optax.add_decayed_weights(weight_decay, mask)

    def init(params: Any) -> Gradients:
        zeros = optax.tree.zeros_like(params)
        return Gradients(zeros, zeros)

    def update(
        gradients: Gradients, state: Gradients, params: Any = None
    ) -> tuple[Any, Gradients]:
        def moved(
            task: jax.Array,
            distillation: jax.Array,
            task_buffer: jax.Array,
            distillation_buffer: jax.Array,
            decay: jax.Array,
        ) -> tuple[jax.Array, jax.Array]:
            has_task, has_distillation = jnp.any(task != 0), jnp.any(distillation != 0)
            shift = jnp.where(has_task & has_distillation, delta, 0.0)
            task = task + jnp.where(has_task, decay, 0.0)
            distillation = distillation + jnp.where(has_task, 0.0, decay)
            return (
                task_buffer * (jnp.asarray(momentum) - shift) + task,
                distillation_buffer * (jnp.asarray(momentum) + shift) + distillation,
            )

        zeros = optax.tree.zeros_like(params)
        decay, _ = decay_weights.update(zeros, decay_weights.init(params), params)
        buffers = jax.tree.map(moved, *gradients, *state, decay)
        state = Gradients(
            *jax.tree.transpose(
                jax.tree.structure(params), jax.tree.structure((0, 0)), buffers
            )
        )
        updates = jax.tree.map(
            lambda one, other: (one + other) * -jnp.asarray(learning_rate), *state
        )
        return updates, state

    return optax.GradientTransformation(init, update)
