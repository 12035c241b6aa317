"""What a training step works on: the problem, its numbers and the student's state.

What shapes the program is in `Problem`; what is only a number is in `Hyperparameters`,
an argument of the program, so that another value needs no compilation.
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data.preprocessing import Preprocessing
from da_jax.methods import Losses, Method, MethodInputs, Outputs, ViewOutputs
from da_jax.models.forward import Variables
from da_jax.models.layers import Dtype
from da_jax.training import optim

Metrics = dict[str, Average]
"""Sums over examples, and how many they are, by name."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is trained, and how: all that a step's code depends on.

    Attributes:
      student: the network that learns.
      teacher: the network that it learns from, or None.
      method: the distillation method.
      augmentation: the ascent, or None for none.
      preprocessing: the data set's.
      optimizer: a key of `optim.OPTIMIZERS`.
      num_examples: of the training set, for methods that remember each.
      dtype: of the images.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    student: nn.Module
    teacher: nn.Module | None
    method: Method
    augmentation: DisagreementAugmentation | None
    preprocessing: Preprocessing
    optimizer: str = "sgd"
    num_examples: int = 1
    dtype: Dtype = jnp.float32
    axis_name: str | None = None

    def create_optimizer(self, numbers: optim.Numbers) -> optax.GradientTransformation:
        """The optimiser of one step."""
        return optim.OPTIMIZERS[self.optimizer](numbers)


class Hyperparameters(flax.struct.PyTreeNode):
    """The numbers of a run.

    Attributes:
      method: the method's weights by name.
      ascent_learning_rate: α, in units of normalised pixels.
      ascent_target: of the relative rise in disagreement; 0 leaves α as it is.
      ascent_steps: e, how many.
      ascent_probability: p, by which a batch is augmented.
      ascent_radius: how far a pixel may go, where an augmentation has such a bound.
      learning_rate: of the student, at the start.
      decay_rate: its factor at each mark.
      decay_steps: int `[marks]`, see `optim.step_decay`.
      steps_per_epoch: how many; the epoch decides over warm-ups.
      momentum: see `optim.Numbers`.
      weight_decay: see `optim.Numbers`.
      dot_delta: see `optim.Numbers`.
    """

    method: Mapping[str, jax.typing.ArrayLike]
    ascent_learning_rate: jax.typing.ArrayLike
    ascent_target: jax.typing.ArrayLike
    ascent_steps: jax.typing.ArrayLike
    ascent_probability: jax.typing.ArrayLike
    ascent_radius: jax.typing.ArrayLike
    learning_rate: jax.typing.ArrayLike
    decay_rate: jax.typing.ArrayLike
    decay_steps: jax.typing.ArrayLike
    steps_per_epoch: jax.typing.ArrayLike
    momentum: jax.typing.ArrayLike
    weight_decay: jax.typing.ArrayLike
    dot_delta: jax.typing.ArrayLike


class TrainState(flax.struct.PyTreeNode):
    """The student in training.

    Attributes:
      step: how many steps were taken.
      seed: of everything random in the run.
      params: the student's parameters.
      batch_stats: the student's running statistics.
      auxiliary: the method's own variables: `params`, which are learned as the
        student's are, and whatever it remembers; empty if it has none.
      opt_state: the optimiser's momentum, of `learned`.
      ascent_scale: what α is multiplied by, see `disagreement.adapt`.
      metrics: of the epoch so far, summed over its batches.
    """

    step: jax.Array
    seed: jax.Array
    params: Any
    batch_stats: Any
    auxiliary: dict[str, Any]
    opt_state: optax.OptState
    ascent_scale: jax.Array
    metrics: Metrics

    @property
    def variables(self) -> Variables:
        """The student as a network's variables."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def learned(self) -> Any:
        """All that gradients change: the student's parameters and the method's."""
        return {"student": self.params, "method": self.auxiliary.get("params", {})}

    def key(self, purpose: int) -> jax.Array:
        """The random key of this run for one of the purposes below."""
        return jax.random.fold_in(jax.random.key(self.seed), purpose)


INITIALIZATION, EPOCH_ORDER, BATCH, COIN, NOISE, AUXILIARY, METHOD, STRONG = range(8)
"""Purposes of random keys; each gets a stream of its own."""


def create_train_state(problem: Problem, seed: jax.typing.ArrayLike) -> TrainState:
    """A student that has not learned yet, initialised from `seed`."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params={},
        batch_stats={},
        auxiliary={},
        opt_state=(),
        ascent_scale=jnp.ones((), problem.dtype),
        metrics={},
    )
    # Initialisation needs no statistics of other devices, so no axis either.
    student = problem.student.clone(axis_name=None)
    images = jnp.zeros((1, 32, 32, 3), problem.dtype)
    variables = student.init(state.key(INITIALIZATION), images)
    keys = {"params": state.key(AUXILIARY), "method": state.key(METHOD)}
    method = problem.method.clone(axis_name=None)
    losses, auxiliary = method.init_with_output(
        keys, _empty_batch(problem), collections.defaultdict(float)
    )
    state = state.replace(
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        auxiliary=auxiliary,
        metrics=_zero_metrics(problem, losses),
    )
    return state.replace(
        opt_state=problem.create_optimizer(optim.Numbers()).init(state.learned)
    )


def _empty_batch(problem: Problem) -> MethodInputs:
    """A batch of one black image, of which a method sees the shapes."""

    def outputs(network: nn.Module) -> tuple[Outputs, list[Any]]:
        network = network.clone(axis_name=None)
        images = jnp.zeros((1, 32, 32, 3), problem.dtype)
        logits_and_features, variables = network.init_with_output(
            jax.random.key(0), images
        )
        norms = network.norms_before_relu(variables["params"])
        return Outputs(*logits_and_features), norms

    def zeros(network: nn.Module) -> Any:
        shapes = jax.eval_shape(lambda: outputs(network))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    student, _ = zeros(problem.student)
    teacher, norms = zeros(problem.teacher) if problem.teacher else (None, [])
    index = jnp.zeros(1, jnp.int32)
    train_labels = jnp.zeros(problem.num_examples, jnp.int32)
    return MethodInputs(
        student=student,
        teacher=teacher,
        labels=index,
        indices=index,
        train_labels=train_labels,
        epoch=jnp.ones(()),
        teacher_norms=norms,
        strong=ViewOutputs(student, teacher) if problem.method.strong_view else None,
    )


def _zero_metrics(problem: Problem, losses: Losses) -> Metrics:
    """A training epoch's metrics before its first batch."""
    names = [*losses, "loss", "finite", "top1"]
    if problem.augmentation is not None:
        names += ["augmented", "ascent_scale"]
        names += ["disagreement_before", "disagreement_after"]
    zeros = {name: jnp.zeros((), problem.dtype) for name in names}
    return {name: Average(total=zero, count=zero) for name, zero in zeros.items()}


def epoch_order(
    state: TrainState, steps_per_epoch: jax.typing.ArrayLike, num_examples: int
) -> jax.Array:
    """The order `[num_examples]` in which the student's epoch sees the examples."""
    key = jax.random.fold_in(state.key(EPOCH_ORDER), state.step // steps_per_epoch)
    return jax.random.permutation(key, num_examples)
