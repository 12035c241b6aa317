"""What a training step works on: the problem, its numbers and the student's state.

What shapes the program is in `Problem`; what is only a number is in `Hyperparameters`,
an argument of the program, so that another value needs no compilation.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax import optim
from da_jax.disagreement import DisagreementAugmentation
from da_jax.methods import Method
from da_jax.models.layers import Dtype
from da_jax.preprocessing import Preprocessing

Metrics = dict[str, Average]
"""Sums over examples, and how many they are, by name."""

Variables = dict[str, Any]
"""A network's `params` and `batch_stats`."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is trained, and how: all that a step's code depends on.

    Attributes:
      student: the network that learns.
      teacher: the network that it learns from, or None.
      method: the distillation method.
      augmentation: the ascent, or None for none.
      preprocessing: the data set's.
      dtype: of the images.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    student: nn.Module
    teacher: nn.Module | None
    method: Method
    augmentation: DisagreementAugmentation | None
    preprocessing: Preprocessing
    dtype: Dtype = jnp.float32
    axis_name: str | None = None


class Hyperparameters(flax.struct.PyTreeNode):
    """The numbers of a run.

    Attributes:
      method: the method's weights by name.
      ascent_learning_rate: α, in units of normalised pixels.
      ascent_probability: p, by which a batch is augmented.
      learning_rate: of the student, at the start.
      decay_rate: its factor at each mark.
      decay_steps: int `[marks]`, see `optim.step_decay`.
      momentum: of SGD.
      weight_decay: of SGD.
    """

    method: Mapping[str, jax.typing.ArrayLike]
    ascent_learning_rate: jax.typing.ArrayLike
    ascent_probability: jax.typing.ArrayLike
    learning_rate: jax.typing.ArrayLike
    decay_rate: jax.typing.ArrayLike
    decay_steps: jax.typing.ArrayLike
    momentum: jax.typing.ArrayLike
    weight_decay: jax.typing.ArrayLike


class TrainState(flax.struct.PyTreeNode):
    """The student in training.

    Attributes:
      step: how many steps were taken.
      seed: of everything random in the run.
      params: the student's parameters.
      batch_stats: the student's running statistics.
      opt_state: the optimiser's momentum.
      metrics: of the epoch so far, summed over its batches.
    """

    step: jax.Array
    seed: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    metrics: Metrics

    @property
    def variables(self) -> Variables:
        """The student as a network's variables."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    def key(self, purpose: int) -> jax.Array:
        """The random key of this run for one of the purposes below."""
        return jax.random.fold_in(jax.random.key(self.seed), purpose)


INITIALIZATION, EPOCH_ORDER, BATCH, COIN, NOISE = range(5)
"""Purposes of random keys; each gets a stream of its own."""


def create_train_state(problem: Problem, seed: jax.typing.ArrayLike) -> TrainState:
    """A student that has not learned yet, initialised from `seed`."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params={},
        batch_stats={},
        opt_state=(),
        metrics=zero_metrics(problem),
    )
    # Initialisation needs no statistics of other devices, so no axis either.
    student = problem.student.clone(axis_name=None)
    images = jnp.zeros((1, 32, 32, 3), problem.dtype)
    variables = student.init(state.key(INITIALIZATION), images)
    return state.replace(
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optim.sgd(0.0, 0.0, 0.0).init(variables["params"]),
    )


def zero_metrics(problem: Problem) -> Metrics:
    """A training epoch's metrics before its first batch."""
    names = [*problem.method.terms, "loss", "finite", "top1"]
    if problem.augmentation is not None:
        names += ["augmented", "disagreement_before", "disagreement_after"]
    zeros = {name: jnp.zeros((), problem.dtype) for name in names}
    return {name: Average(total=zero, count=zero) for name, zero in zeros.items()}


def epoch_order(state: TrainState, epoch: jax.Array, num_examples: int) -> jax.Array:
    """The order `[num_examples]` in which `epoch` (from 0) sees the examples."""
    key = jax.random.fold_in(state.key(EPOCH_ORDER), epoch)
    return jax.random.permutation(key, num_examples)
