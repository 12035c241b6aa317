"""Student and teacher on a batch that Disagreement Augmentation moves step by step.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (forward_eval).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from da_jax import disagreement
from da_jax.disagreement import DisagreementAugmentation

NetworkFunction = Callable[[jax.Array], jax.Array]
"""Normalised images `[B, H, W, C]` to logits `[B, K]`, of a network in eval mode."""


class Recording(NamedTuple):
    """What the networks make of the images after 0 … E steps.

    Attributes:
      student_logits: `[E + 1, B, K]`.
      teacher_logits: `[E + 1, B, K]`.
      disagreement: what the ascent raises, `[E + 1, B]`.
    """

    student_logits: jax.Array
    teacher_logits: jax.Array
    disagreement: jax.Array


def record_ascent(
    student: NetworkFunction,
    teacher: NetworkFunction,
    images: jax.Array,
    steps: int,
    learning_rate: jax.typing.ArrayLike,
) -> tuple[Recording, jax.Array]:
    """Moves a batch as in training, but with both networks in eval mode.

    The batch is the algorithm's unit: Adam and the plateau see its mean.

    Args:
      student: the student.
      teacher: the teacher.
      images: the batch, normalised, `[B, H, W, C]`.
      steps: E.
      learning_rate: α, in units of normalised pixels.

    Returns:
      What was recorded, and the images after the last step.
    """
    augmentation = DisagreementAugmentation()
    labels = jnp.zeros(len(images), jnp.int32)  # the disagreement needs none

    def unmoved(images: jax.Array, batch_stats: Any) -> tuple[jax.Array, Any]:
        return student(images), batch_stats

    def record(student_logits: jax.Array, teacher_logits: jax.Array) -> Recording:
        distance = augmentation.distance(student_logits, teacher_logits)
        return Recording(student_logits, teacher_logits, distance)

    def body(
        ascent: disagreement.Ascent, _: None
    ) -> tuple[disagreement.Ascent, Recording]:
        moved, logits = disagreement.observed_step(
            augmentation, ascent, unmoved, teacher, labels, learning_rate
        )
        return moved, record(*logits)

    start = disagreement.start(images, {})
    end, recorded = jax.lax.scan(body, start, length=steps)
    last = record(student(end.images), teacher(end.images))
    whole = jax.tree.map(
        lambda before, after: jnp.concatenate([before, after[None]]), recorded, last
    )
    return whole, end.images
