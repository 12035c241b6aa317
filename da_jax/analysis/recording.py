"""Recording of Disagreement Augmentation: images and logits after each step.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (forward_eval).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from da_jax.ascent.ascend import take_steps
from da_jax.augmentations.disagreement import DisagreementAugmentation

NetworkFunction = Callable[[jax.Array], jax.Array]
"""Normalised images `[B, H, W, C]` to logits `[B, K]`, of a network in eval mode."""


class Recording(NamedTuple):
    """Images and logits after 0 … E steps.

    Attributes:
      images: `[E + 1, B, H, W, C]`, normalised, not clipped.
      student_logits: `[E + 1, B, K]`.
      teacher_logits: `[E + 1, B, K]`.
      disagreement: of each example, `[E + 1, B]`.
    """

    images: jax.Array
    student_logits: jax.Array
    teacher_logits: jax.Array
    disagreement: jax.Array


def record_ascent(
    student: NetworkFunction,
    teacher: NetworkFunction,
    images: jax.Array,
    steps: int,
    learning_rate: jax.typing.ArrayLike,
    augmentation: DisagreementAugmentation | None = None,
) -> Recording:
    """Moves a batch as in training, but with both networks in eval mode.

    The result depends on the batch: the optimizer sees its mean disagreement.

    Args:
      student: the student.
      teacher: the teacher.
      images: the batch, normalised, `[B, H, W, C]`.
      steps: E.
      learning_rate: α, in units of normalised pixels.
      augmentation: the ascent, the paper's by default.
    """
    augmentation = augmentation or DisagreementAugmentation()

    def evaluate(images: jax.Array) -> Recording:
        logits = student(images), teacher(images)
        return Recording(images, *logits, augmentation.disagreement(*logits))

    def objective(
        images: jax.Array, state: tuple[jax.Array, Recording]
    ) -> tuple[jax.Array, tuple[jax.Array, Recording]]:
        taken, recording = state
        current = evaluate(images)
        recording = jax.tree.map(
            lambda buffer, value: buffer.at[taken].set(value), recording, current
        )
        return current.disagreement, (taken + 1, recording)

    shapes = jax.eval_shape(evaluate, images)
    buffers = jax.tree.map(lambda x: jnp.zeros((steps + 1, *x.shape), x.dtype), shapes)
    moved, state, _ = take_steps(
        images,
        objective,
        optimizer=augmentation.optimizer(learning_rate, len(images)),
        steps=steps,
        state=(jnp.zeros((), jnp.int32), buffers),
    )
    _, (_, recording) = objective(moved, state)
    return recording
