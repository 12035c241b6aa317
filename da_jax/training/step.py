"""Training and evaluation steps: pure functions of one device's share of the batch."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from da_jax.augmentations import Augmented, Context
from da_jax.data import Examples
from da_jax.data.batch import Batch, device_share
from da_jax.models.forward import (
    Outputs,
    Variables,
    classifier,
    eval_mode,
    train_mode,
)
from da_jax.models.reused_classifier import ReusedClassifier
from da_jax.training.batch_metrics import eval_metrics
from da_jax.training.sampling import sample_batch
from da_jax.training.state import (
    COIN,
    NOISE,
    Hyperparameters,
    Metrics,
    Task,
    TrainState,
)
from da_jax.training.update import update_student


def train_step(
    task: Task,
    states: Sequence[TrainState],
    teacher: Variables | None,
    examples: Examples,
    orders: Sequence[jax.Array],
    position: jax.typing.ArrayLike,
    hyperparameters: Sequence[Hyperparameters],
    batch_size: int,
) -> tuple[tuple[TrainState, ...], tuple[Metrics, ...]]:
    """Trains each student on a batch of its own.

    Args:
      task: what is trained.
      states: the students before.
      teacher: the teacher's variables, shared by all students, or None.
      examples: the training set.
      orders: of this epoch, one for each student.
      position: where in its order each student's batch starts.
      hyperparameters: one for each student.
      batch_size: of a student, over all devices.

    Returns:
      The students after, and the metrics of their batches.
    """
    states = [with_teacher_classifier(task, teacher, state) for state in states]
    sample = partial(sample_batch, task, examples, position, batch_size)
    batches = map(sample, states, orders)
    augmented = list(
        map(partial(augment, task, teacher), states, batches, hyperparameters)
    )
    outputs = teacher_forward(task, teacher, [each.batch.views for each in augmented])
    update = partial(update_student, task, teacher, examples)
    updated = map(update, states, augmented, outputs, hyperparameters)
    after, metrics = zip(*updated, strict=True)
    return after, metrics


def with_teacher_classifier(
    task: Task, teacher: Variables | None, state: TrainState
) -> TrainState:
    """Sets the student's classifier to the teacher's if the method reuses that.

    Students are created without the teacher's variables. Every step sets them: it costs
    nothing, and no step depends on an earlier one having done so.
    """
    if not task.method.reuses_classifier:
        return state
    assert isinstance(task.student, ReusedClassifier), "it reuses a classifier"
    assert task.teacher is not None and teacher is not None, "there is a teacher"
    of_teacher = classifier(task.teacher, teacher)
    assert of_teacher is not None, "the teacher is a Network"
    batch_stats = task.student.with_classifier(state.batch_stats, of_teacher)
    return state.replace(batch_stats=batch_stats)


def augment(
    task: Task,
    teacher: Variables | None,
    state: TrainState,
    batch: Batch,
    hyperparameters: Hyperparameters,
) -> Augmented:
    """Applies the task's augmentation to a student's batch.

    The student is in train mode and the teacher in eval mode; their parameters stay.
    """

    def student_logits(
        images: jax.Array, batch_stats: Variables
    ) -> tuple[jax.Array, Variables]:
        outputs, moved = train_mode(task.student, state.params, batch_stats, images)
        return outputs.logits, moved

    def teacher_logits(images: jax.Array) -> jax.Array:
        return eval_mode(task.teacher, teacher, images).logits

    context = Context(
        student=student_logits,
        teacher=teacher_logits,
        batch_stats=state.batch_stats,
        hyperparameters=hyperparameters.augmentation,
        scale=state.ascent_scale,
        coin_key=state.step_key(COIN),
        noise_key=state.step_key(NOISE),
        axis_name=task.axis_name,
    )
    return task.augmentation(batch, context)


def teacher_forward(
    task: Task, teacher: Variables | None, students: Sequence[Sequence[jax.Array]]
) -> list[list[Outputs | None]]:
    """Evaluates the teacher on the images of all students in one forward pass.

    Args:
      task: what is trained.
      teacher: the teacher's variables, or None.
      students: for each student the views of its batch, `[B, H, W, C]` each.

    Returns:
      For each student the outputs for each view; None without a teacher.
    """
    views = [images for view in zip(*students, strict=True) for images in view]
    outputs: list[Outputs | None] = [None] * len(views)
    if task.teacher is not None and task.method.teacher_train:
        # Each batch by its own statistics; the running ones are dropped.
        assert teacher is not None, "a method that looks at a teacher has one"
        fixed = jax.lax.stop_gradient(teacher)
        outputs = [
            train_mode(task.teacher, fixed["params"], fixed["batch_stats"], images)[0]
            for images in views
        ]
    elif task.teacher is not None:
        together = eval_mode(task.teacher, teacher, jnp.concatenate(views))
        leaves, structure = jax.tree.flatten(together)
        parts = zip(*(jnp.split(leaf, len(views)) for leaf in leaves), strict=True)
        outputs = [jax.tree.unflatten(structure, part) for part in parts]
    return [outputs[index :: len(students)] for index in range(len(students))]


def eval_step(
    task: Task,
    variables: Variables,
    examples: Examples,
    position: jax.typing.ArrayLike,
    batch_size: int,
) -> Metrics:
    """Evaluates a student on `batch_size` examples from `position` on.

    Positions beyond the last example are masked, so every example counts once whatever
    the batch size and the number of devices.
    """
    indices = device_share(jnp.arange(batch_size) + position, task.axis_name)
    mask = indices < len(examples.labels)
    indices = jnp.minimum(indices, len(examples.labels) - 1)
    labels = jnp.asarray(examples.labels)[indices]
    images = task.preprocessing.normalize(
        jnp.asarray(examples.images)[indices], task.dtype
    )
    logits = eval_mode(task.student, variables, images).logits
    return eval_metrics(task, logits, labels, mask)
