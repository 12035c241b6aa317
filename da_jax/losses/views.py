"""Losses of two views of each image, weak and strong: MLKD."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from da_jax.losses.interface import (
    ArrayLike,
    Losses,
    Scalar,
    check_logits,
    cross_entropy,
    kl_divergence,
)

MLKD_TEMPERATURES = (3.0, 5.0, 2.0, 6.0)
"""The temperatures beside the argument `temperature`."""


def mlkd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_strong: Float[ArrayLike, "B K"],
    teacher_strong: Float[ArrayLike, "B K"],
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 0.1,
    kd_weight: Scalar = 0.9,
    axis_name: str | None = None,
) -> Losses:
    """Computes Multi-Level Logit Distillation: instances, batches and classes.

    Each image has a weakly augmented view w and a strongly augmented view s. KD is the
    divergence of both networks' probabilities p [B, K] at a temperature; E and C are
    the squared distances of their correlations p·pᵀ of examples and pᵀ·p of classes.
    Sums are over temperatures:

      L = w_ce · (CE(S(w), y) + CE(S(s), y))
        + w_kd · (m · Σ KD(w) + Σ{T, 3, 5} KD(s) + Σ{2, 6} KD(w))
        + w_kd · m · Σ E(w) + w_kd · c · Σ C(w)

    m is the fraction of examples with a teacher's confidence of at most the median, c
    that of classes. The paper selects by them; like the original code, this multiplies.

    Args:
      student_logits: the student's logits of the weak view.
      teacher_logits: the teacher's logits of the weak view.
      labels: the classes.
      student_strong: the student's logits of the strong view.
      teacher_strong: the teacher's logits of the strong view.
      temperature: T.
      ce_weight: weight of the cross-entropies.
      kd_weight: weight of all other terms.
      axis_name: the mapped axis of the batch; the correlations are then those of the
        global batch, and the other terms those of this device's part.

    Returns:
      `loss_ce`, `loss_kd`, `loss_cc` (classes) and `loss_bc` (examples).

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> teacher = jnp.eye(2, 4)
      >>> terms = losses.mlkd(
      ...     teacher, teacher, jnp.array([0, 1]),
      ...     student_strong=teacher, teacher_strong=teacher,
      ... )
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '0.149', 'loss_kd': '0.000', 'loss_cc': '0.000', 'loss_bc': '0.000'}

    References:
      Jin et al., Multi-Level Logit Distillation, CVPR 2023.
      y4umeng/disagreement_augmentation, src/distillers/MLKD.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    check_logits(student_strong, teacher_strong, labels)
    temperatures = (temperature, *MLKD_TEMPERATURES)

    def divergences(student: Any, teacher: Any, count: int) -> list[Array]:
        return [
            jnp.mean(kl_divergence(student, teacher, t)) for t in temperatures[:count]
        ]

    weak = divergences(student_logits, teacher_logits, 5)
    both = divergences(student_strong, teacher_strong, 3) + weak[3:]
    student, teacher = student_logits, teacher_logits
    if axis_name is not None:
        student, teacher = jax.lax.all_gather((student, teacher), axis_name, tiled=True)
    probabilities = [
        (jax.nn.softmax(student / t), jax.nn.softmax(teacher / t)) for t in temperatures
    ]
    confidence = jax.nn.softmax(teacher)
    example_fraction = _fraction_up_to_median(jnp.max(confidence, axis=1))
    class_fraction = _fraction_up_to_median(jnp.sum(confidence, axis=0))
    by_example = sum(_correlation_distance(*rows) for rows in probabilities)
    by_class = sum(_correlation_distance(s.T, t.T) for s, t in probabilities)
    ce = cross_entropy(student_logits, labels) + cross_entropy(student_strong, labels)
    return {
        "loss_ce": ce * ce_weight,
        "loss_kd": (example_fraction * sum(weak) + sum(both)) * kd_weight,
        "loss_cc": class_fraction * by_class * kd_weight,
        "loss_bc": example_fraction * by_example * kd_weight,
    }


def _correlation_distance(student: Array, teacher: Array) -> Array:
    """Computes Σ (T·Tᵀ − S·Sᵀ)² / N of rows `[N, M]`, a scalar."""
    student_products, teacher_products = (
        jnp.matmul(rows, rows.T, precision="highest") for rows in (student, teacher)
    )
    return jnp.sum(jnp.square(teacher_products - student_products)) / len(student)


def _fraction_up_to_median(values: Array) -> Array:
    """Computes the fraction of values `[N]` that are at most their median."""
    return jnp.mean(values <= jnp.median(values), dtype=values.dtype)
