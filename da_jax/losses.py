"""Distillation losses of logits, as pure functions.

Each returns its weighted terms by name; the loss is their sum. Terms are means over the
batch. Hyperparameters are keyword arguments, which default to the papers' values and
may be traced. Losses are differentiable by the teacher's logits too: apply
`jax.lax.stop_gradient` if the teacher isn't a constant.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

ArrayLike = Array | np.ndarray

Losses = dict[str, Array]  # scalars by term

Loss = Callable[..., Losses]  # of (student, teacher, labels, **hyperparameters)

Scalar = float | int | Float[Array, ""] | Int[Array, ""]


def cross_entropy(
    logits: Float[ArrayLike, "B K"], labels: Int[ArrayLike, " B"]
) -> Float[Array, ""]:
    """Computes the mean cross-entropy against the labels."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def kl_divergence(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    temperature: Scalar,
) -> Float[Array, " B"]:
    """Computes T² · KL(softmax(teacher / T) ‖ softmax(student / T)) by example."""
    log_student = jax.nn.log_softmax(student_logits / temperature)
    log_teacher = jax.nn.log_softmax(teacher_logits / temperature)
    divergence = optax.losses.kl_divergence_with_log_targets(log_student, log_teacher)
    return divergence * temperature**2


def standardize(logits: Float[ArrayLike, "B K"]) -> Float[Array, "B K"]:
    """Scales each row to mean 0 and standard deviation 1 (of K − 1 degrees)."""
    centered = jnp.subtract(logits, jnp.mean(logits, axis=-1, keepdims=True))
    squares = jnp.sum(jnp.square(centered), axis=-1, keepdims=True)
    variance = squares / (logits.shape[-1] - 1)
    # The square root has no finite gradient at 0, the variance of equal logits.
    std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
    return centered / (std + 1e-7)


def logit_standardization(loss: Loss) -> Loss:
    """Wraps a loss so that its term `loss_kd` compares standardised logits.

    The other terms don't change.

    Args:
      loss: a loss of this module, or of the same signature.

    Returns:
      A loss with the same arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> student, labels = jnp.array([[1.0, 2.0, 4.0]]), jnp.array([2])
      >>> loss = losses.logit_standardization(losses.kd)
      >>> terms = loss(student, 10 * student, labels)  # differ in scale only
      >>> print(f"{abs(terms['loss_kd']):.4f} {terms['loss_ce']:.4f}")
      0.0000 0.0170

    References:
      Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024.
    """

    @functools.wraps(loss)
    def standardized(
        student_logits: Any, teacher_logits: Any, labels: Any, **others: Any
    ) -> Losses:
        plain = loss(student_logits, teacher_logits, labels, **others)
        views = {
            name: standardize(others[name])
            for name in ("student_strong", "teacher_strong")
            if name in others
        }
        logits = standardize(student_logits), standardize(teacher_logits)
        compared = loss(*logits, labels, **(others | views))
        return plain | {"loss_kd": compared["loss_kd"]}

    return standardized


def kd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 0.1,
    kd_weight: Scalar = 0.9,
) -> Losses:
    """Computes Knowledge Distillation: the targets are the teacher's probabilities.

      L = w_ce · CE(S, y) + w_kd · T² · KL(softmax(teacher / T) ‖ softmax(student / T))

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      temperature: T.
      ce_weight: weight of the cross-entropy.
      kd_weight: weight of the divergence.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> terms = losses.kd(jnp.zeros((2, 4)), jnp.eye(2, 4), jnp.array([0, 1]))
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '0.139', 'loss_kd': '0.091'}

    References:
      Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
      mdistiller, mdistiller/distillers/KD.py.
    """
    _check(student_logits, teacher_logits, labels)
    divergence = kl_divergence(student_logits, teacher_logits, temperature)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * kd_weight,
    }


def dkd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 1.0,
    alpha: Scalar = 1.0,
    beta: Scalar = 8.0,
    warmup: Scalar = 20.0,
    epoch: Scalar = 1,
) -> Losses:
    """Computes Decoupled Knowledge Distillation: target class and others separately.

    b = (p_label, 1 − p_label) and q are the probabilities of the other classes given
    that the label's is excluded, all at temperature T:

      L = w_ce · CE(S, y) + min(epoch / warmup, 1) · T² ·
          (α · KL(b(teacher) ‖ b(student)) + β · KL(q(teacher) ‖ q(student)))

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      temperature: T.
      ce_weight: weight of the cross-entropy.
      alpha: weight of the target class.
      beta: weight of the other classes.
      warmup: epochs over which the weight of the divergences rises; 0 for none.
      epoch: counted from 1.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> logits = jnp.eye(2, 4)
      >>> terms = losses.dkd(0 * logits, logits, jnp.array([0, 3]), epoch=20)
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '0.523'}

    References:
      Zhao et al., Decoupled Knowledge Distillation, CVPR 2022.
      mdistiller, mdistiller/distillers/DKD.py.
    """
    _check(student_logits, teacher_logits, labels)
    arguments = (student_logits, teacher_logits, labels, temperature)
    divergence = alpha * _target_class_kl(*arguments) + beta * _other_classes_kl(
        *arguments
    )
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * jnp.minimum(jnp.divide(epoch, warmup), 1.0),
    }


def _target_class_kl(
    student_logits: Any, teacher_logits: Any, labels: Any, temperature: Scalar
) -> Array:
    """Computes T² · KL(b(teacher) ‖ b(student)), `[B]`."""

    def log_binary(logits: Array) -> Array:
        log_p = jax.nn.log_softmax(logits / temperature)
        is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
        masks = is_label, ~is_label
        parts = [jax.nn.logsumexp(log_p, axis=-1, where=mask) for mask in masks]
        return jnp.stack(parts, axis=-1)

    divergence = optax.losses.kl_divergence_with_log_targets(
        log_binary(student_logits), log_binary(teacher_logits)
    )
    return divergence * temperature**2


def _other_classes_kl(
    student_logits: Any, teacher_logits: Any, labels: Any, temperature: Scalar
) -> Array:
    """Computes T² · KL(q(teacher) ‖ q(student)), `[B]`."""
    # As in the original: so far below the others that its probability is 0.
    masked = 1000.0 * jax.nn.one_hot(labels, student_logits.shape[-1])
    masked = masked.astype(student_logits.dtype) * temperature
    return kl_divergence(student_logits - masked, teacher_logits - masked, temperature)


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
    _check(student_logits, teacher_logits, labels)
    _check(student_strong, teacher_strong, labels)
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


def _check(student_logits: Any, teacher_logits: Any, labels: Any) -> None:
    arrays = student_logits, teacher_logits, labels
    student, teacher, labels = (list(jnp.shape(array)) for array in arrays)
    if len(student) != 2 or student != teacher or labels != student[:1]:
        raise ValueError(
            f"the student's logits are {student}, the teacher's {teacher} and the"
            f" labels {labels}; they must be [B, K], [B, K] and [B]"
        )
