"""The schedule and the optimiser: PyTorch's SGD with steps down."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


def step_decay(
    step: jax.typing.ArrayLike,
    learning_rate: jax.typing.ArrayLike,
    decay_rate: jax.typing.ArrayLike,
    decay_steps: jax.typing.ArrayLike,
) -> jax.Array:
    """The learning rate at `step`: times `decay_rate` for each mark that is behind.

    Args:
      step: how many steps were taken.
      learning_rate: at the start.
      decay_rate: the factor at each mark.
      decay_steps: int `[marks]`; the first step with the lower rate. A mark at the end
        of epoch n (counted from 1) is step n × steps_per_epoch.
    """
    marks_behind = jnp.sum(jnp.asarray(step) >= jnp.asarray(decay_steps))
    return jnp.asarray(learning_rate) * jnp.power(decay_rate, marks_behind)


class Numbers(NamedTuple):
    """What an optimiser's update depends on; all may be traced.

    Attributes:
      learning_rate: of this step.
      momentum: of the gradients.
      weight_decay: of every parameter, biases and batch norm included, as the original.
      delta: by how much DOT's two momenta differ from `momentum`.
    """

    learning_rate: jax.typing.ArrayLike = 0.0
    momentum: jax.typing.ArrayLike = 0.0
    weight_decay: jax.typing.ArrayLike = 0.0
    delta: jax.typing.ArrayLike = 0.0


class Gradients(NamedTuple):
    """Of the cross-entropy, and of all other terms of a loss."""

    task: Any
    distillation: Any


def sgd(numbers: Numbers) -> optax.GradientTransformation:
    """`torch.optim.SGD`: weight decay joins the gradient before the momentum."""
    return optax.chain(
        optax.add_decayed_weights(numbers.weight_decay),
        optax.sgd(numbers.learning_rate, numbers.momentum),
    )


def dot(numbers: Numbers) -> optax.GradientTransformation:
    """The Distillation-Oriented Trainer: a momentum for each of the two `Gradients`.

    m is momentum − Δ for the task and momentum + Δ for the distillation; where a
    parameter has only one of the gradients it is momentum. The decay joins the task's
    gradient, or the distillation's where there is no other. Which gradients a parameter
    has is seen by their not being zero throughout.

    References:
      Zhao et al., DOT: A Distillation-Oriented Trainer, ICCV 2023.
      mdistiller, mdistiller/engine/dot.py.
    """

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
            param: jax.Array,
        ) -> tuple[jax.Array, jax.Array]:
            has_task, has_distillation = jnp.any(task != 0), jnp.any(distillation != 0)
            shift = jnp.where(has_task & has_distillation, numbers.delta, 0.0)
            decay = param * numbers.weight_decay
            task = task + jnp.where(has_task, decay, 0.0)
            distillation = distillation + jnp.where(has_task, 0.0, decay)
            momentum = jnp.asarray(numbers.momentum)
            return (
                task_buffer * (momentum - shift) + task,
                distillation_buffer * (momentum + shift) + distillation,
            )

        buffers = jax.tree.map(moved, *gradients, *state, params)
        state = Gradients(
            *jax.tree.transpose(
                jax.tree.structure(params), jax.tree.structure((0, 0)), buffers
            )
        )
        updates = jax.tree.map(
            lambda one, other: (one + other) * -jnp.asarray(numbers.learning_rate),
            *state,
        )
        return updates, state

    return optax.GradientTransformation(init, update)


OPTIMIZERS: dict[str, Callable[[Numbers], optax.GradientTransformation]] = {
    "dot": dot,
    "sgd": sgd,
}
"""dot's update takes `Gradients`, any other's their sum."""
