"""Disagreement Augmentation of training batches.

With logits S of the student and T of the teacher, and D their disagreement, each step
is one of Adam's, new for each batch, with the weights of both networks fixed:

  x ← x + α · Adam(∂D(S(x), T(x)) / ∂x)

References:
  y4umeng/disagreement_augmentation, the training loop of the paper's experiments
  (mean squared error, `update_batch_stats`, `reduce_on_plateau`) and, later,
  src/distillers/_augmented.py (Kullback-Leibler divergence, neither of the two).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from da_jax.ascent.disagreement import (
    BOTH_SCALES,
    DIVERGENCES,
    ascent_optimizer,
    divergence_of,
)
from da_jax.ascent.normalization import NORMALIZATIONS
from da_jax.augmentations.ascent import AscentAugmentation
from da_jax.declarations import (
    BOOLEAN,
    NOT_NEGATIVE,
    Declaration,
    Names,
    setting,
)
from da_jax.errors import UserError, unknown_name


@dataclasses.dataclass(frozen=True)
class DisagreementAugmentation(AscentAugmentation):
    """Ascends the disagreement of student and teacher; the defaults are the paper's.

    Raises:
      UserError: there is no such divergence, or two settings exclude each other.
    """

    hyperparameters: ClassVar[Mapping[str, Declaration | None]] = {
        "steps": Declaration(1, NOT_NEGATIVE, "e, of ascent"),
        "target": Declaration(
            0.0, NOT_NEGATIVE, "relative rise that adapts α; 0: α is fixed"
        ),
    }

    divergence: str = setting(
        "mse", Names("divergence", DIVERGENCES), "D: mse of L1-normalised logits, or kl"
    )
    logit_standardization: bool = setting(False, BOOLEAN, "standardise logits before D")
    update_batch_stats: bool = setting(
        True, BOOLEAN, "keep running statistics from the passes of the ascent"
    )
    reduce_on_plateau: bool = setting(
        True, BOOLEAN, "cut α by PyTorch's rule when D stops rising"
    )
    random_init: bool = setting(False, BOOLEAN, "start from uniform(-1, 1) noise")
    reference_batch: int = setting(
        0, NOT_NEGATIVE, "scale gradients as if the batch had this size; 0: its own"
    )

    normalize: str = setting(
        "",
        Names("normalization", NORMALIZATIONS, optional=True),
        "example: gradients divided by each example's root mean square",
    )

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            raise unknown_name("divergence", self.divergence, DIVERGENCES)
        if self.normalize and self.reference_batch:
            raise UserError(BOTH_SCALES)

    @property
    def keeps_batch_stats(self) -> bool:
        """See `AscentAugmentation`."""
        return self.update_batch_stats

    @property
    def starts_from_noise(self) -> bool:
        """See `AscentAugmentation`."""
        return self.random_init

    def disagreement(
        self, student_logits: jax.Array, teacher_logits: jax.Array
    ) -> jax.Array:
        """Returns the disagreement of each example, from `[B, K]` to `[B]`."""
        compare = divergence_of(
            self.divergence, logit_standardization=self.logit_standardization
        )
        return compare(student_logits, teacher_logits)

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """Returns what is raised for each example, from `[B, K]` and `[B]` to `[B]`."""
        del labels
        return self.disagreement(student_logits, teacher_logits)

    def optimizer(
        self, learning_rate: jax.typing.ArrayLike, batch_size: int
    ) -> optax.GradientTransformation:
        """Returns the optimizer of a batch of this size, over all devices."""
        return ascent_optimizer(
            jnp.asarray(learning_rate),
            reduce_on_plateau=self.reduce_on_plateau,
            batch_size=batch_size,
            reference_batch=self.reference_batch or None,
            normalize=self.normalize or None,
        )

    def adapt(
        self,
        scale: jax.Array,
        metrics: Mapping[str, Any],
        hyperparameters: Mapping[str, jax.typing.ArrayLike],
    ) -> jax.Array:
        """Returns a factor that brings the relative rise closer to its `target`."""
        return adapted(
            scale,
            metrics["disagreement_before"].compute(),
            metrics["disagreement_after"].compute(),
            hyperparameters["target"],
        )


ADAPTATION = 0.1
"""The exponent by which a batch's rise changes α: ten batches correct it."""


def adapted(
    scale: jax.Array,
    before: jax.Array,
    after: jax.Array,
    target: jax.typing.ArrayLike,
) -> jax.Array:
    """Returns a factor for α that brings the disagreement's rise closer to its target.

    Ours, not the paper's: one target fits pairs and stages of training that need
    different α. A batch changes the factor by at most 2^0.1, and it stays from 0.01 to
    100.

    Args:
      scale: the factor for this batch, a scalar.
      before: the mean disagreement of the batch before its ascent.
      after: the same after it.
      target: of after / before − 1; 0 leaves the factor as it is.
    """
    rise = after / before - 1
    wrong_by = jnp.where(rise > 0, target / rise, 2.0)
    corrected = scale * jnp.clip(wrong_by, 0.5, 2.0) ** ADAPTATION
    is_measured = jnp.isfinite(rise) & (jnp.asarray(target) > 0)
    return jnp.where(is_measured, jnp.clip(corrected, 0.01, 100.0), scale)
