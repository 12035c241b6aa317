"""What a training step works on: the task, its hyperparameters and the student's state.

What shapes the compiled program is in `Task`. Scalars are in `Hyperparameters`, which
are traced, so changing one doesn't recompile.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax import declarations
from da_jax.augmentations import Augmentation
from da_jax.data.preprocessing import Preprocessing
from da_jax.losses import Losses
from da_jax.methods import Method, MethodInputs, ViewOutputs
from da_jax.models import forward
from da_jax.models.forward import Outputs, Variables
from da_jax.models.layers import Dtype
from da_jax.training.optimizers import Optimizer, OptimizerHyperparameters

Metrics = dict[str, Average]
"""Sums over examples, and how many they are, by name."""


IDENTITY = Augmentation()
SGD = Optimizer()


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained, and how: all that the compiled steps depend on.

    Attributes:
      student: the network that is trained.
      teacher: the network that it learns from, or None.
      method: the distillation method.
      preprocessing: the data set's.
      augmentation: of the batches; the identity by default.
      optimizer: the static part of the optimizer.
      smooth_labels: whether the cross-entropy's labels are smoothed.
      average_weights: whether a moving average of the student is kept, and evaluated.
      num_examples: in the training set, for methods with a memory of each.
      dtype: of the images.
      axis_name: the pmapped axis that the batch is split over, or None.
      image_shape: height, width and channels.
    """

    student: nn.Module
    teacher: nn.Module | None
    method: Method
    preprocessing: Preprocessing
    augmentation: Augmentation = IDENTITY
    optimizer: Optimizer = SGD
    smooth_labels: bool = False
    average_weights: bool = False
    num_examples: int = 1
    dtype: Dtype = jnp.float32
    axis_name: str | None = None
    image_shape: tuple[int, int, int] = (32, 32, 3)


class Hyperparameters(flax.struct.PyTreeNode):
    """The scalars of a run, nested as its config is.

    Attributes:
      method: those that the method declares.
      augmentation: those that the augmentation declares.
      optimizer: of the optimizer and its schedule.
      steps_per_epoch: how many; methods with a warm-up count epochs.
      label_smoothing: of the cross-entropy, for a task that smooths labels.
      ema_decay: of the moving average, for a task that keeps one.
    """

    method: Mapping[str, jax.typing.ArrayLike]
    augmentation: Mapping[str, jax.typing.ArrayLike]
    optimizer: OptimizerHyperparameters
    steps_per_epoch: jax.typing.ArrayLike
    label_smoothing: jax.typing.ArrayLike = 0.0
    ema_decay: jax.typing.ArrayLike = 0.0


class TrainState(flax.struct.PyTreeNode):
    """A student in training.

    Attributes:
      step: how many steps were taken.
      seed: of everything random in the run.
      params: the student's parameters.
      batch_stats: the student's running statistics.
      auxiliary: the method's own variables: `params`, trained as the student's are, and
        its memories; empty if it has none.
      opt_state: the optimizer's momentum, of `trainable`.
      ascent_scale: the factor of the augmentation's learning rate, see
        `Augmentation.adapt`.
      metrics: of the epoch so far, summed over its batches.
      ema: the exponential moving average of `variables`, or None if there is none.
    """

    step: jax.Array
    seed: jax.Array
    params: Any
    batch_stats: Any
    auxiliary: dict[str, Any]
    opt_state: optax.OptState
    ascent_scale: jax.Array
    metrics: Metrics
    ema: Variables | None = None

    @property
    def variables(self) -> Variables:
        """The student's `params` and `batch_stats`."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def eval_variables(self) -> Variables:
        """The variables that are evaluated and saved as the best: the average's."""
        return self.variables if self.ema is None else self.ema

    @property
    def trainable(self) -> Any:
        """All that gradients change: the student's parameters and the method's."""
        return {"student": self.params, "method": self.auxiliary.get("params", {})}

    def key(self, purpose: int) -> jax.Array:
        """Returns the run's random key for one of the purposes below."""
        return jax.random.fold_in(jax.random.key(self.seed), purpose)

    def step_key(self, purpose: int) -> jax.Array:
        """Returns the key of this step for one of the purposes below."""
        return jax.random.fold_in(self.key(purpose), self.step)


INITIALIZATION, EPOCH_ORDER, BATCH, COIN, NOISE, AUXILIARY, METHOD, STRONG = range(8)
"""Purposes of random keys; each has a stream of its own."""


def create_train_state(
    task: Task,
    seed: jax.typing.ArrayLike,
    weights: Mapping[str, jax.typing.ArrayLike] | None = None,
    start: Variables | None = None,
) -> TrainState:
    """Initialises a student.

    Args:
      task: what is trained.
      seed: of everything random.
      weights: the method's hyperparameters; those that it declares by default.
      start: variables that replace the initialised ones; it may lack some.
    """
    if weights is None:
        _, weights = declarations.split(
            type(task.method), declarations.section(type(task.method))
        )
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params={},
        batch_stats={},
        auxiliary={},
        opt_state=(),
        ascent_scale=jnp.ones((), task.dtype),
        metrics={},
    )
    images = jnp.zeros((1, *task.image_shape), task.dtype)
    key = state.key(INITIALIZATION)
    variables, outputs = forward.initialize_with_outputs(task.student, key, images)
    variables = _replaced(variables, start or {})
    keys = {"params": state.key(AUXILIARY), "method": state.key(METHOD)}
    method = task.method.clone(axis_name=None)
    losses, auxiliary = method.init_with_output(
        keys, _zero_inputs(task, variables, outputs), weights
    )
    state = state.replace(
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        auxiliary=auxiliary,
        metrics=_zero_metrics(task, losses),
        ema=variables if task.average_weights else None,
    )
    return state.replace(opt_state=task.optimizer.init(state.trainable))


def _replaced(variables: Variables, start: Variables) -> Variables:
    """Returns variables with those of `start` in their place, in the same dtypes."""
    leaves = flax.traverse_util.flatten_dict(variables, keep_empty_nodes=True)
    given = flax.traverse_util.flatten_dict(start)
    replaced: Variables = flax.traverse_util.unflatten_dict(
        leaves | {path: given[path].astype(leaves[path].dtype) for path in given}
    )
    return replaced


def _zero_inputs(task: Task, variables: Variables, student: Outputs) -> MethodInputs:
    """Returns a method's inputs for one example, for their shapes."""

    def teacher_outputs(network: nn.Module) -> tuple[Outputs, list[Any], Any]:
        images = jnp.zeros((1, *task.image_shape), task.dtype)
        variables, outputs = forward.initialize_with_outputs(
            network, jax.random.key(0), images
        )
        norms = forward.norms_before_relu(network, variables["params"])
        return outputs, norms, forward.classifier(network, variables)

    teacher, norms, teacher_classifier = None, [], None
    if task.teacher is not None:
        shapes = jax.eval_shape(functools.partial(teacher_outputs, task.teacher))
        teacher, norms, teacher_classifier = jax.tree.map(jnp.zeros_like, shapes)
    student = jax.tree.map(jnp.zeros_like, student)
    index = jnp.zeros(1, jnp.int32)
    return MethodInputs(
        student=student,
        teacher=teacher,
        labels=index,
        indices=index,
        train_labels=jnp.zeros(task.num_examples, jnp.int32),
        epoch=jnp.ones(()),
        teacher_norms=norms,
        strong=ViewOutputs(student, teacher) if task.method.strong_view else None,
        student_classifier=forward.classifier(task.student, variables),
        teacher_classifier=teacher_classifier,
    )


def _zero_metrics(task: Task, losses: Losses) -> Metrics:
    """Returns an epoch's training metrics before its first batch."""
    names = [*losses, "loss", "finite", "top1", *task.augmentation.metric_names]
    zeros = {name: jnp.zeros((), task.dtype) for name in names}
    return {name: Average(total=zero, count=zero) for name, zero in zeros.items()}
