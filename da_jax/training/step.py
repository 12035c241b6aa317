"""One training or evaluation step: pure functions of one device's share of the batch.

A training step draws its batch, moves it to where student and teacher disagree (by
chance) and lets the student learn from it: `draw`, `ascend`, `teach` and `learn`, of
one or several students at once in `train_step`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from da_jax.augmentations import disagreement
from da_jax.data import Examples
from da_jax.methods import Outputs
from da_jax.methods.interface import device_share
from da_jax.models.forward import eval_mode, train_mode
from da_jax.training.batch_metrics import eval_metrics
from da_jax.training.draw import Drawn, draw, noise
from da_jax.training.learn import learn
from da_jax.training.state import (
    Hyperparameters,
    Metrics,
    Problem,
    TrainState,
    Variables,
)


def ascend(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> Drawn:
    """The ascent of a batch, whatever its coin says.

    Args:
      problem: what is trained; it has an augmentation.
      state: the student, whose parameters stay.
      teacher: the teacher's variables.
      drawn: the batch.
      hyperparameters: the run's numbers.
    """
    assert problem.augmentation is not None, "only an augmentation has an ascent"

    def student(images: jax.Array, batch_stats: Any) -> tuple[jax.Array, Any]:
        outputs, batch_stats = train_mode(
            problem.student, state.params, batch_stats, images
        )
        return outputs.logits, batch_stats

    def teacher_logits(images: jax.Array) -> jax.Array:
        return eval_mode(problem.teacher, teacher, images).logits

    ascent = disagreement.augment(
        problem.augmentation,
        drawn.ascent,
        student,
        teacher_logits,
        drawn.labels,
        hyperparameters.ascent_learning_rate * state.ascent_scale,
        problem.axis_name,
        steps=hyperparameters.ascent_steps,
        radius=hyperparameters.ascent_radius,
        noise=lambda: noise(problem, state, drawn.ascent.images),
    )
    return drawn._replace(ascent=ascent)


def teach(
    problem: Problem, teacher: Variables | None, batches: Sequence[jax.Array]
) -> list[Outputs | None]:
    """The teacher's outputs for several students' images, in one pass.

    Args:
      problem: what is trained.
      teacher: the teacher's variables, or None.
      batches: images `[B, H, W, C]` of each student, or of each view of theirs.

    Returns:
      The outputs for each; None where there is no teacher.
    """
    if problem.teacher is None:
        return [None] * len(batches)
    if problem.method.teacher_train:  # each by its own batch
        assert teacher is not None, "a method that looks at a teacher has one"
        params, batch_stats = jax.lax.stop_gradient(
            (teacher["params"], teacher["batch_stats"])
        )
        return [
            train_mode(problem.teacher, params, batch_stats, images)[0]
            for images in batches
        ]
    taught = eval_mode(problem.teacher, teacher, jnp.concatenate(batches))
    parts = [jnp.split(leaf, len(batches)) for leaf in jax.tree.leaves(taught)]
    structure = jax.tree.structure(taught)
    return [
        jax.tree.unflatten(structure, leaves) for leaves in zip(*parts, strict=True)
    ]


def train_step(
    problem: Problem,
    states: Sequence[TrainState],
    teacher: Variables | None,
    examples: Examples,
    orders: Sequence[jax.Array],
    position: jax.Array,
    hyperparameters: Sequence[Hyperparameters],
    batch_size: int,
) -> tuple[tuple[TrainState, ...], tuple[Metrics, ...]]:
    """A whole training step of one or several students, each with its batch and coin.

    Args:
      problem: what is trained.
      states: the students before.
      teacher: the teacher's variables, shared by all, or None.
      examples: the whole training set.
      orders: of this epoch, a student's each.
      position: where in its order a batch starts.
      hyperparameters: the numbers, a student's each.
      batch_size: of a student's global batch.

    Returns:
      The students after, and their metrics.
    """
    students = list(zip(states, hyperparameters, strict=True))
    batches = [
        draw(problem, state, examples, order, position, numbers, batch_size)
        for (state, numbers), order in zip(students, orders, strict=True)
    ]
    batches = [
        _ascend_on_heads(problem, state, teacher, drawn, numbers)
        for (state, numbers), drawn in zip(students, batches, strict=True)
    ]
    views = zip(*(drawn.views for drawn in batches), strict=True)
    taught = teach(problem, teacher, [images for view in views for images in view])
    learned = [
        learn(
            problem,
            state,
            taught[index :: len(students)],
            teacher,
            examples,
            batches[index],
            numbers,
        )
        for index, (state, numbers) in enumerate(students)
    ]
    return tuple(after for after, _ in learned), tuple(
        metrics for _, metrics in learned
    )


def _ascend_on_heads(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> Drawn:
    if problem.augmentation is None:
        return drawn

    def heads(drawn: Drawn) -> Drawn:
        return ascend(problem, state, teacher, drawn, hyperparameters)

    return jax.lax.cond(drawn.coin, heads, lambda tails: tails, drawn)


def eval_step(
    problem: Problem,
    variables: Variables,
    examples: Examples,
    position: jax.typing.ArrayLike,
    batch_size: int,
) -> Metrics:
    """The student's metrics on `batch_size` examples from `position` on.

    What lies beyond the end of the examples doesn't count, so that every example counts
    once whatever the batch size and the number of devices.
    """
    indices = device_share(jnp.arange(batch_size) + position, problem.axis_name)
    counts = indices < len(examples.labels)
    indices = jnp.minimum(indices, len(examples.labels) - 1)
    labels = jnp.asarray(examples.labels)[indices]
    images = problem.preprocessing.normalize(
        jnp.asarray(examples.images)[indices], problem.dtype
    )
    logits = eval_mode(problem.student, variables, images).logits
    return eval_metrics(problem, logits, labels, counts)
