"""OPTIMIZERS and the learning rate's schedule: PyTorch's SGD with steps down."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Scalar = jax.typing.ArrayLike


class OptimizerHyperparameters(NamedTuple):
    """The scalars of an optimizer and its schedule; all may be traced.

    Attributes:
      learning_rate: at the start.
      decay_rate: the factor of the learning rate at each mark.
      decay_steps: int `[marks]`, see `step_decay`.
      momentum: of the gradients.
      weight_decay: of every parameter, biases and batch norm included, as the original.
      dot_delta: by how much DOT's two momenta differ from `momentum`.
    """

    learning_rate: Scalar
    decay_rate: Scalar
    decay_steps: Scalar
    momentum: Scalar
    weight_decay: Scalar
    dot_delta: Scalar

    def at(self, step: Scalar) -> "OptimizerHyperparameters":
        """Returns the same with the learning rate of `step`."""
        return self._replace(
            learning_rate=step_decay(
                step, self.learning_rate, self.decay_rate, self.decay_steps
            )
        )


def step_decay(
    step: Scalar, learning_rate: Scalar, decay_rate: Scalar, decay_steps: Scalar
) -> jax.Array:
    """Computes the learning rate, multiplied by `decay_rate` at each mark passed.

    Args:
      step: how many steps were taken.
      learning_rate: at the start.
      decay_rate: the factor at each mark.
      decay_steps: int `[marks]`; the first step with the lower rate. A mark at the end
        of epoch n (counted from 1) is step n × steps_per_epoch.
    """
    marks_passed = jnp.sum(jnp.asarray(step) >= jnp.asarray(decay_steps))
    return jnp.asarray(learning_rate) * jnp.power(decay_rate, marks_passed)


class Gradients(NamedTuple):
    """The gradients of the cross-entropy, and of all other terms of a loss."""

    task: Any
    distillation: Any


def sgd(
    learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar
) -> optax.GradientTransformation:
    """`torch.optim.SGD`: weight decay joins the gradient before the momentum."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum)
    )


def dot(
    learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar, delta: Scalar
) -> optax.GradientTransformation:
    """The Distillation-Oriented Trainer: a momentum for each of the two `Gradients`.

    The momentum is `momentum` − `delta` for the task and `momentum` + `delta` for the
    distillation; a parameter with only one of the gradients has `momentum`. The decay
    joins the task's gradient, or the distillation's where there is no other. A gradient
    that is zero throughout counts as absent.

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
            shift = jnp.where(has_task & has_distillation, delta, 0.0)
            decay = param * weight_decay
            task = task + jnp.where(has_task, decay, 0.0)
            distillation = distillation + jnp.where(has_task, 0.0, decay)
            return (
                task_buffer * (jnp.asarray(momentum) - shift) + task,
                distillation_buffer * (jnp.asarray(momentum) + shift) + distillation,
            )

        buffers = jax.tree.map(moved, *gradients, *state, params)
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


OPTIMIZERS: dict[
    str, Callable[[OptimizerHyperparameters], optax.GradientTransformation]
] = {
    "dot": lambda of: dot(of.learning_rate, of.momentum, of.weight_decay, of.dot_delta),
    "sgd": lambda of: sgd(of.learning_rate, of.momentum, of.weight_decay),
}
"""By name; the update of `dot` takes `Gradients`, that of others takes their sum."""
