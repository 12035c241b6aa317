"""Student and teacher on a batch that Disagreement Augmentation moves step by step.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (forward_eval).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from da_jax.augmentations import disagreement
from da_jax.augmentations.disagreement import DisagreementAugmentation

NetworkFunction = Callable[[jax.Array], jax.Array]
"""Normalised images `[B, H, W, C]` to logits `[B, K]`, of a network in eval mode."""


class Recording(NamedTuple):
    """What the networks make of the images after 0 … E steps.

    Attributes:
      images: `[E + 1, B, H, W, C]`, normalised, not clipped.
      student_logits: `[E + 1, B, K]`.
      teacher_logits: `[E + 1, B, K]`.
      disagreement: what the ascent raises, `[E + 1, B]`.
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

    The batch is the algorithm's unit: Adam and the plateau see its mean.

    Args:
      student: the student.
      teacher: the teacher.
      images: the batch, normalised, `[B, H, W, C]`.
      steps: E.
      learning_rate: α, in units of normalised pixels.
      augmentation: what is ascended, the paper's by default.
    """
    augmentation = augmentation or DisagreementAugmentation()
    labels = jnp.zeros(len(images), jnp.int32)  # the disagreement needs none

    def unmoved(images: jax.Array, batch_stats: Any) -> tuple[jax.Array, Any]:
        return student(images), batch_stats

    def record(images: jax.Array, logits: tuple[jax.Array, jax.Array]) -> Recording:
        return Recording(images, *logits, augmentation.distance(*logits))

    def body(
        ascent: disagreement.Ascent, _: None
    ) -> tuple[disagreement.Ascent, Recording]:
        moved, logits = disagreement.observed_step(
            augmentation, ascent, unmoved, teacher, labels, learning_rate
        )
        return moved, record(ascent.images, logits)

    start = disagreement.start(images, {})
    end, recorded = jax.lax.scan(body, start, length=steps)
    last = record(end.images, (student(end.images), teacher(end.images)))
    whole: Recording = jax.tree.map(
        lambda before, after: jnp.concatenate([before, after[None]]), recorded, last
    )
    return whole
