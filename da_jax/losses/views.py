"""Losses of two views of each image, weak and strong: MLKD, SLD, CRLD."""

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


SLD_TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def sld(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_strong: Float[ArrayLike, "B K"],
    teacher_strong: Float[ArrayLike, "B K"],
    ce_weight: Scalar = 0.1,
    kd_weight: Scalar = 0.9,
    student_target_after: Scalar = 150.0,
    epoch: Scalar = 1,
) -> Losses:
    """Computes Swapped Logit Distillation: the label gets the largest logit.

    x(z) are the logits z with the label's and the largest one exchanged. Sums are over
    both views of each image, and over the temperatures 1 to 6:

      L = w_ce · Σ CE(S, y) + w_kd · Σ T² · (KL(x(teacher) / T ‖ student / T)
                                           + s · KL(x(student) / T ‖ student / T))

    KL is that of the softmax. s is 1 after some epoch, and 0 before. Gradients pass
    through both sides of the second divergence, as in the authors' code.

    Args:
      student_logits: the student's logits of the weak view.
      teacher_logits: the teacher's logits of the weak view.
      labels: the classes.
      student_strong: the student's logits of the strong view.
      teacher_strong: the teacher's logits of the strong view.
      ce_weight: weight of the cross-entropies.
      kd_weight: weight of the divergences.
      student_target_after: the last epoch without the second divergence.
      epoch: counted from 1.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> teacher = jnp.eye(2, 4)
      >>> terms = losses.sld(
      ...     teacher, teacher, jnp.array([0, 2]),
      ...     student_strong=teacher, teacher_strong=teacher,
      ... )
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '0.249', 'loss_kd': '1.474'}

    References:
      Limantoro et al., Swapped Logit Distillation via Bi-Level Teacher Alignment,
      Multimedia Systems 31, 2025.
      StephenEkaputra/Swapped-Logit-Distillation, mdistiller/distillers/SLD.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    check_logits(student_strong, teacher_strong, labels)

    def divergence(student: Any, target: Any) -> Array:
        parts = [kl_divergence(student, target, t) for t in SLD_TEMPERATURES]
        return jnp.mean(jnp.stack(parts).sum(axis=0))

    views = (student_logits, teacher_logits), (student_strong, teacher_strong)
    of_teacher = sum(divergence(s, _swap(t, labels)) for s, t in views)
    of_student = sum(divergence(s, _swap(s, labels)) for s, _ in views)
    has_student_target = jnp.asarray(epoch) > student_target_after
    ce = cross_entropy(student_logits, labels) + cross_entropy(student_strong, labels)
    return {
        "loss_ce": ce * ce_weight,
        "loss_kd": (of_teacher + has_student_target * of_student) * kd_weight,
    }


def _swap(logits: Any, labels: Any) -> Array:
    """Exchanges the label's logit and the largest one of each row `[B, K]`."""
    places = jnp.arange(logits.shape[-1])
    largest = jnp.argmax(logits, axis=-1)[:, None]
    label = jnp.asarray(labels)[:, None]
    source = jnp.where(
        places == label, largest, jnp.where(places == largest, label, places)
    )
    return jnp.take_along_axis(jnp.asarray(logits), source, axis=-1)


def crld(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_strong: Float[ArrayLike, "B K"],
    teacher_strong: Float[ArrayLike, "B K"],
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 1.0,
    wv_weight: Scalar = 2.0,
    cv_weight: Scalar = 0.5,
    tau_w: Scalar = 0.9,
    tau_s: Scalar = 0.275,
) -> Losses:
    """Computes Cross-view Consistency Regularisation: each view learns from both.

    KD(i, j) is T² · KL(softmax(teacher(j) / T) ‖ softmax(student(i) / T)), of a weak
    view w and a strong view s of each image. c(i) is 1 where the teacher's largest
    probability for view i is at least τ, and else 0:

      L = w_ce · (CE(S(w), y) + CE(S(s), y))
        + w_wv · c(w) · (KD(w, w) + KD(s, s)) + w_cv · c(s) · (KD(s, w) + KD(w, s))

    Args:
      student_logits: the student's logits of the weak view.
      teacher_logits: the teacher's logits of the weak view.
      labels: the classes.
      student_strong: the student's logits of the strong view.
      teacher_strong: the teacher's logits of the strong view.
      temperature: T.
      ce_weight: weight of the cross-entropies.
      wv_weight: weight within views.
      cv_weight: weight across views.
      tau_w: τ of the weak view, at temperature 1.
      tau_s: τ of the strong view.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> teacher = jnp.eye(2, 4)
      >>> terms = losses.crld(
      ...     0 * teacher, teacher, jnp.array([0, 1]),
      ...     student_strong=teacher, teacher_strong=teacher,
      ... )
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '2.130', 'loss_kd': '0.051'}

    References:
      Zhang et al., Cross-View Consistency Regularisation for Knowledge Distillation,
      ACM MM 2024.
      haiduo/DeepKD, mdistiller/distillers/CRLD.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    check_logits(student_strong, teacher_strong, labels)

    def divergence(student: Any, teacher: Any) -> Array:
        return kl_divergence(student, teacher, temperature)

    within = divergence(student_logits, teacher_logits)
    within += divergence(student_strong, teacher_strong)
    across = divergence(student_strong, teacher_logits)
    across += divergence(student_logits, teacher_strong)
    ce = cross_entropy(student_logits, labels) + cross_entropy(student_strong, labels)
    within = jnp.mean(within * (_confidence(teacher_logits) >= tau_w))
    across = jnp.mean(across * (_confidence(teacher_strong) >= tau_s))
    return {
        "loss_ce": ce * ce_weight,
        "loss_kd": within * wv_weight + across * cv_weight,
    }


def _confidence(logits: Any) -> Array:
    """Computes the largest probability of each row, `[B, K]` to `[B]`."""
    return jnp.max(jax.nn.softmax(logits), axis=-1)
