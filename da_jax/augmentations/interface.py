"""What an augmentation is: a batch to the batch that the student is trained on."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax

from da_jax.data.batch import Batch
from da_jax.declarations import Declaration

StudentFunction = Callable[[jax.Array, Any], tuple[jax.Array, Any]]
"""(images `[B, H, W, C]`, batch_stats) to (logits `[B, K]`, batch_stats after)."""

TeacherFunction = Callable[[jax.Array], jax.Array]
"""Images `[B, H, W, C]` to logits `[B, K]`."""


class Context(NamedTuple):
    """What an augmentation may use beside the batch.

    Attributes:
      student: in train mode.
      teacher: in eval mode.
      batch_stats: the student's running statistics.
      hyperparameters: those that the augmentation declares.
      scale: the factor by which `Augmentation.adapt` changes the learning rate.
      coin_key: decides whether the batch is augmented; the same on every device.
      noise_key: of all noise; the same on every device.
      axis_name: the pmapped axis that the batch is split over, or None.
    """

    student: StudentFunction
    teacher: TeacherFunction
    batch_stats: Any
    hyperparameters: Mapping[str, jax.typing.ArrayLike]
    scale: jax.Array
    coin_key: jax.Array
    noise_key: jax.Array
    axis_name: str | None


class Augmented(NamedTuple):
    """A batch after its augmentation.

    Attributes:
      batch: what the student is trained on.
      batch_stats: the student's running statistics.
      measurements: scalars by name, for `Augmentation.metrics`.
    """

    batch: Batch
    batch_stats: Any
    measurements: dict[str, jax.Array]


class Metric(NamedTuple):
    """A value for each example, and which of them count: `[B]` both."""

    values: jax.Array
    mask: jax.Array


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The identity, and the base class of what changes batches."""

    hyperparameters: ClassVar[Mapping[str, Declaration | None]] = {}
    uses_teacher: ClassVar[bool] = False
    """Whether it needs a teacher."""
    metric_names: ClassVar[tuple[str, ...]] = ()
    """The keys of `metrics`."""

    def __call__(self, batch: Batch, context: Context) -> Augmented:
        """Returns this device's share of the batch, augmented."""
        return Augmented(batch, context.batch_stats, {})

    def metrics(
        self,
        measurements: Mapping[str, jax.Array],
        student_logits: jax.Array,
        teacher_logits: jax.Array | None,
    ) -> dict[str, Metric]:
        """Measures a batch after its augmentation.

        Args:
          measurements: what `__call__` returned.
          student_logits: of the augmented batch, `[B, K]`.
          teacher_logits: likewise, or None without a teacher.
        """
        del measurements, student_logits, teacher_logits
        return {}

    def adapt(
        self,
        scale: jax.Array,
        metrics: Mapping[str, Any],
        hyperparameters: Mapping[str, jax.typing.ArrayLike],
    ) -> jax.Array:
        """Returns the factor of the learning rate for the next batch.

        Args:
          scale: the factor for this batch, a scalar.
          metrics: this batch's, as means over all devices (`clu.metrics.Average`).
          hyperparameters: those that the class declares.
        """
        del metrics, hyperparameters
        return scale
