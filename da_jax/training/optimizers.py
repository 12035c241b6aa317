"""OPTIMIZERS and SCHEDULES: a training step's update and its learning rate."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from da_jax.training.dot import Gradients, Mask, dot

Scalar = jax.typing.ArrayLike


class OptimizerHyperparameters(NamedTuple):
    """The scalars of an optimizer and its schedule; all may be traced.

    Attributes:
      learning_rate: before any decay.
      decay_rate: the factor of the learning rate at each mark.
      decay_steps: int `[marks]`, see `step_decay`.
      momentum: of the gradients; b1 of AdamW, Lion and LAMB.
      weight_decay: of the parameters, see `Optimizer.decay_bias_and_norm`.
      dot_delta: by how much DOT's two momenta differ from `momentum`.
      warmup_steps: over which the learning rate rises linearly from 0.
      num_steps: of the run, at whose end `cosine` and `linear` reach 0.
      clip_norm: the largest norm of the gradient, see `clip_gradients`.
    """

    learning_rate: Scalar
    decay_rate: Scalar
    decay_steps: Scalar
    momentum: Scalar
    weight_decay: Scalar
    dot_delta: Scalar
    warmup_steps: Scalar = 0.0
    num_steps: Scalar = 1
    clip_norm: Scalar = 0.0


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


def fraction_after_warmup(step: Scalar, of: OptimizerHyperparameters) -> jax.Array:
    """Computes the fraction of the steps after the warm-up that were taken."""
    num_steps = jnp.subtract(of.num_steps, of.warmup_steps)
    return jnp.clip(jnp.subtract(step, of.warmup_steps) / num_steps, 0.0, 1.0)


Schedule = Callable[[Scalar, OptimizerHyperparameters], jax.Array]
"""Maps (steps taken, scalars) to the learning rate without its warm-up."""

# optax's schedules take static lengths only; of a fraction, the length is 1.
SCHEDULES: dict[str, Schedule] = {
    "step": lambda step, of: step_decay(
        step, of.learning_rate, of.decay_rate, of.decay_steps
    ),
    "cosine": lambda step, of: jnp.asarray(
        optax.cosine_decay_schedule(of.learning_rate, 1)(
            fraction_after_warmup(step, of)
        )
    ),
    "linear": lambda step, of: jnp.asarray(
        optax.linear_schedule(of.learning_rate, 0.0, 1)(fraction_after_warmup(step, of))
    ),
    "constant": lambda step, of: jnp.asarray(of.learning_rate),
}
"""Schedules by name. `cosine` and `linear` fall to 0 from the warm-up to the end."""


def sgd(
    learning_rate: Scalar,
    momentum: Scalar,
    weight_decay: Scalar,
    mask: Mask = None,
) -> optax.GradientTransformation:
    """`torch.optim.SGD`: weight decay joins the gradient before the momentum."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask),
        optax.sgd(learning_rate, momentum),
    )


MakeOptimizer = Callable[[OptimizerHyperparameters, Mask], optax.GradientTransformation]
"""Maps (scalars of a step, mask of the weight decay) to an optimizer."""

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "dot": lambda of, mask: dot(
        of.learning_rate, of.momentum, of.weight_decay, of.dot_delta, mask
    ),
    "sgd": lambda of, mask: sgd(of.learning_rate, of.momentum, of.weight_decay, mask),
    "adamw": lambda of, mask: optax.adamw(
        of.learning_rate, of.momentum, weight_decay=of.weight_decay, mask=mask
    ),
    "lion": lambda of, mask: optax.lion(
        of.learning_rate, of.momentum, weight_decay=of.weight_decay, mask=mask
    ),
    "lamb": lambda of, mask: optax.lamb(
        of.learning_rate, of.momentum, weight_decay=of.weight_decay, mask=mask
    ),
}
"""By name; the update of `dot` takes `Gradients`, that of others takes their sum."""


def clip_gradients(gradients: Any, max_norm: Scalar) -> Any:
    """`torch.nn.utils.clip_grad_norm_`: scales gradients down to a global norm.

    Args:
      gradients: a tree, or `Gradients`, whose sum has the norm that counts.
      max_norm: the largest norm.
    """
    whole = gradients
    if isinstance(gradients, Gradients):
        whole = optax.tree.add(gradients.task, gradients.distillation)
    factor = jnp.minimum(1.0, max_norm / (optax.tree.norm(whole) + 1e-6))
    return jax.tree.map(lambda leaf: leaf * factor, gradients)


def is_weight(params: Any) -> Any:
    """Marks the parameters that aren't biases or of norms: those of several axes."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The static part of an optimizer; its scalars are `OptimizerHyperparameters`.

    Attributes:
      name: a key of `OPTIMIZERS`.
      schedule: a key of `SCHEDULES`.
      clips: whether the gradients are clipped to `clip_norm`.
      decay_bias_and_norm: whether the weight decay includes biases and the parameters
        of norms, as in PyTorch, or only weights, see `is_weight`.
    """

    name: str = "sgd"
    schedule: str = "step"
    clips: bool = False
    decay_bias_and_norm: bool = True

    def init(self, params: Any) -> optax.OptState:
        """Returns the state before the first step."""
        zeros = OptimizerHyperparameters(*[0.0] * len(OptimizerHyperparameters._fields))
        return self._create(zeros).init(params)

    def update(
        self,
        gradients: Any,
        opt_state: optax.OptState,
        params: Any,
        step: Scalar,
        hyperparameters: OptimizerHyperparameters,
    ) -> tuple[Any, optax.OptState]:
        """Takes a step.

        Args:
          gradients: of the loss; `Gradients` of its two parts for `dot`.
          opt_state: the state before.
          params: the parameters before.
          step: how many steps were taken before.
          hyperparameters: of the run.

        Returns:
          The parameters and the state after.
        """
        if self.clips:
            gradients = clip_gradients(gradients, hyperparameters.clip_norm)
        rate = self.learning_rate(step, hyperparameters)
        optimizer = self._create(hyperparameters._replace(learning_rate=rate))
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def learning_rate(
        self, step: Scalar, hyperparameters: OptimizerHyperparameters
    ) -> jax.Array:
        """Computes the learning rate after `step` steps, with its warm-up."""
        rate = SCHEDULES[self.schedule](step, hyperparameters)
        warmup = jnp.asarray(hyperparameters.warmup_steps)
        rising = rate * (jnp.asarray(step) / jnp.maximum(warmup, 1.0))
        return jnp.where(step < warmup, rising, rate)

    def _create(
        self, hyperparameters: OptimizerHyperparameters
    ) -> optax.GradientTransformation:
        mask = None if self.decay_bias_and_norm else is_weight
        return OPTIMIZERS[self.name](hyperparameters, mask)
