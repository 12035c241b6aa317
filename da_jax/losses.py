"""Distillation losses of logits, as pure functions.

Each returns its terms by name: scalars, means over the batch, weights included, whose
sum is minimised. Numbers are keyword arguments with the papers' values. Gradients reach
the teacher's logits too: stop them where the teacher isn't a constant.
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

Losses = dict[str, Array]  # term to scalar

Loss = Callable[..., Losses]  # (student, teacher, labels, **weights) to the terms

Number = float | int | Float[Array, ""] | Int[Array, ""]  # traced or not


def cross_entropy(
    logits: Float[ArrayLike, "B K"], labels: Int[ArrayLike, " B"]
) -> Float[Array, ""]:
    """The mean cross-entropy against the labels."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def kl_divergence(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    temperature: Number,
) -> Float[Array, " B"]:
    """KL(teacher ‖ student) of each example at a temperature, times its square."""
    log_student = jax.nn.log_softmax(student_logits / temperature)
    log_teacher = jax.nn.log_softmax(teacher_logits / temperature)
    divergence = optax.losses.kl_divergence_with_log_targets(log_student, log_teacher)
    return divergence * temperature**2


def standardize(logits: Float[ArrayLike, "B K"]) -> Float[Array, "B K"]:
    """Each row with mean 0 and standard deviation (of n − 1) 1."""
    centered = jnp.subtract(logits, jnp.mean(logits, axis=-1, keepdims=True))
    squares = jnp.sum(jnp.square(centered), axis=-1, keepdims=True)
    variance = squares / (logits.shape[-1] - 1)
    # Equal logits have a standard deviation of 0, where a root has no gradient.
    std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
    return centered / (std + 1e-7)


def logit_standardization(loss: Loss) -> Loss:
    """Wraps a loss so that its term `loss_kd` alone compares standardised logits.

    Args:
      loss: of this module, or one like them.

    Returns:
      A loss with the same arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> student, labels = jnp.array([[1.0, 2.0, 4.0]]), jnp.array([2])
      >>> loss = losses.logit_standardization(losses.kd)
      >>> terms = loss(student, 10 * student, labels)  # they differ in scale alone
      >>> print(f"{abs(terms['loss_kd']):.4f} {terms['loss_ce']:.4f}")
      0.0000 0.0170

    References:
      Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024.
    """

    @functools.wraps(loss)
    def standardized(
        student_logits: Any, teacher_logits: Any, labels: Any, **others: Any
    ) -> Losses:
        as_they_are = loss(student_logits, teacher_logits, labels, **others)
        views = {
            name: standardize(others[name])
            for name in ("student_strong", "teacher_strong")
            if name in others
        }
        compared = loss(
            standardize(student_logits),
            standardize(teacher_logits),
            labels,
            **(others | views),
        )
        return as_they_are | {"loss_kd": compared["loss_kd"]}

    return standardized


def kd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    temperature: Number = 4.0,
    ce_weight: Number = 0.1,
    kd_weight: Number = 0.9,
) -> Losses:
    """Knowledge Distillation: the teacher's softened probabilities as targets.

      L = w_ce · CE(S, y) + w_kd · T² · KL(softmax(teacher / T) ‖ softmax(student / T))

    Args:
      student_logits: of the student.
      teacher_logits: of the teacher.
      labels: the classes.
      temperature: T.
      ce_weight: of the cross-entropy.
      kd_weight: of the divergence.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: shapes don't fit.

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
    temperature: Number = 4.0,
    ce_weight: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 8.0,
    warmup: Number = 20.0,
    epoch: Number = 1,
) -> Losses:
    """Decoupled Knowledge Distillation: the label's class and the others apart.

    With b = (p_label, 1 − p_label) and q the probabilities of the other classes among
    themselves, all at temperature T:

      L = w_ce · CE(S, y) + min(epoch / warmup, 1) · T² ·
          (α · KL(b(teacher) ‖ b(student)) + β · KL(q(teacher) ‖ q(student)))

    Args:
      student_logits: of the student.
      teacher_logits: of the teacher.
      labels: the classes.
      temperature: T.
      ce_weight: of the cross-entropy.
      alpha: of the label's class.
      beta: of the other classes.
      warmup: epochs over which the divergences' weight rises; 0 for none.
      epoch: counted from 1.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: shapes don't fit.

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
    divergence = alpha * _of_label(*arguments) + beta * _of_others(*arguments)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * jnp.minimum(jnp.divide(epoch, warmup), 1.0),
    }


def _of_label(
    student_logits: Any, teacher_logits: Any, labels: Any, temperature: Number
) -> Array:
    """T² · KL(b(teacher) ‖ b(student)), `[B]`."""

    def log_binary(logits: Array) -> Array:
        log_p = jax.nn.log_softmax(logits / temperature)
        is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
        of_label = jax.nn.logsumexp(log_p, axis=-1, where=is_label)
        of_others = jax.nn.logsumexp(log_p, axis=-1, where=~is_label)
        return jnp.stack([of_label, of_others], axis=-1)

    divergence = optax.losses.kl_divergence_with_log_targets(
        log_binary(student_logits), log_binary(teacher_logits)
    )
    return divergence * temperature**2


def _of_others(
    student_logits: Any, teacher_logits: Any, labels: Any, temperature: Number
) -> Array:
    """T² · KL(q(teacher) ‖ q(student)), `[B]`."""
    # As far below the others as the original's: its probability is 0.
    masked = 1000.0 * jax.nn.one_hot(labels, student_logits.shape[-1])
    masked = masked.astype(student_logits.dtype) * temperature
    return kl_divergence(student_logits - masked, teacher_logits - masked, temperature)


MLKD_TEMPERATURES = (3.0, 5.0, 2.0, 6.0)
"""Beside the one that is given."""


def mlkd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_strong: Float[ArrayLike, "B K"],
    teacher_strong: Float[ArrayLike, "B K"],
    temperature: Number = 4.0,
    ce_weight: Number = 0.1,
    kd_weight: Number = 0.9,
    axis_name: str | None = None,
) -> Losses:
    """Multi-Level Logit Distillation: two views, five temperatures, three levels.

    Of an image there is a weak view w and a strong one s. Of a batch's probabilities
    p [B, K] at a temperature, examples are correlated as p·pᵀ and classes as pᵀ·p.
    KD is the divergence of two networks' probabilities; E and C are the squared
    distances of their correlations of examples and classes. Sums are over temperatures:

      L = w_ce · (CE(S(w), y) + CE(S(s), y))
        + w_kd · (m · Σ KD(w) + Σ{T, 3, 5} KD(s) + Σ{2, 6} KD(w))
        + w_kd · m · Σ E(w) + w_kd · c · Σ C(w)

    m is the fraction of examples whose teacher confidence is at most the median, c the
    same for classes. The paper selects by them; the code followed here multiplies.

    Args:
      student_logits: of the weak view.
      teacher_logits: of the weak view.
      labels: the classes.
      student_strong: the student's logits of the strong view.
      teacher_strong: the teacher's logits of the strong view.
      temperature: T.
      ce_weight: of the cross-entropies.
      kd_weight: of everything else.
      axis_name: the mapped axis that the batch is split over; correlations are then of
        the global batch, and the other terms of this device's share.

    Returns:
      `loss_ce`, `loss_kd`, `loss_cc` (classes) and `loss_bc` (examples).

    Raises:
      ValueError: shapes don't fit.

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
    student, teacher = (
        logits
        if axis_name is None
        else jax.lax.all_gather(logits, axis_name, tiled=True)
        for logits in (student_logits, teacher_logits)
    )
    probabilities = [
        (jax.nn.softmax(student / t), jax.nn.softmax(teacher / t)) for t in temperatures
    ]
    confidence = jax.nn.softmax(teacher)
    of_examples = _share_up_to_median(jnp.max(confidence, axis=1))
    of_classes = _share_up_to_median(jnp.sum(confidence, axis=0))
    by_example = sum(_correlation_distance(*rows) for rows in probabilities)
    by_class = sum(_correlation_distance(s.T, t.T) for s, t in probabilities)
    of_labels = cross_entropy(student_logits, labels)
    of_labels += cross_entropy(student_strong, labels)
    return {
        "loss_ce": of_labels * ce_weight,
        "loss_kd": (of_examples * sum(weak) + sum(both)) * kd_weight,
        "loss_cc": of_classes * by_class * kd_weight,
        "loss_bc": of_examples * by_example * kd_weight,
    }


def _correlation_distance(student: Array, teacher: Array) -> Array:
    """Σ (T·Tᵀ − S·Sᵀ)² / N of rows `[N, M]`, a scalar."""
    of_student, of_teacher = (
        jnp.matmul(rows, rows.T, precision="highest") for rows in (student, teacher)
    )
    return jnp.sum(jnp.square(of_teacher - of_student)) / len(student)


def _share_up_to_median(values: Array) -> Array:
    """How many of `[N]` are at most their median, as a share."""
    return jnp.mean(values <= jnp.median(values), dtype=values.dtype)


def _check(student_logits: Any, teacher_logits: Any, labels: Any) -> None:
    shapes = [jnp.shape(each) for each in (student_logits, teacher_logits, labels)]
    of_student, of_teacher, of_labels = shapes
    if len(of_student) != 2 or of_student != of_teacher or of_labels != of_student[:1]:
        student, teacher, labels = (list(shape) for shape in shapes)
        raise ValueError(
            f"the student's logits are {student}, the teacher's {teacher} and the"
            f" labels {labels}; they must be [B, K], [B, K] and [B]"
        )
