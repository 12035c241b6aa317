"""Losses of the target class and of other classes separately: DKD, NKD, RLD."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from da_jax.losses.interface import (
    ArrayLike,
    Losses,
    Scalar,
    check_logits,
    cross_entropy,
    is_label,
    kl_divergence,
    linear_warmup,
    target_cross_entropy,
    without_classes,
)


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
    check_logits(student_logits, teacher_logits, labels)
    divergence = decoupled_divergence(
        student_logits, teacher_logits, labels, temperature, alpha, beta
    )
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * linear_warmup(epoch, warmup),
    }


def decoupled_divergence(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    temperature: Scalar,
    alpha: Scalar,
    beta: Scalar,
) -> Float[Array, " B"]:
    """Computes DKD's T² · (α · KL(b ‖ b) + β · KL(q ‖ q)) by example."""
    target_class = _binary_kl(
        student_logits, teacher_logits, labels, labels, temperature
    )
    # As in the original: so far below the others that its probability is 0.
    masked = 1000.0 * jax.nn.one_hot(labels, student_logits.shape[-1])
    masked = masked.astype(student_logits.dtype) * temperature
    other_classes = kl_divergence(
        student_logits - masked, teacher_logits - masked, temperature
    )
    return alpha * target_class + beta * other_classes


def _binary_kl(
    student_logits: Any,
    teacher_logits: Any,
    student_classes: Any,
    teacher_classes: Any,
    temperature: Scalar,
) -> Array:
    """Computes T² · KL(b(teacher) ‖ b(student)), `[B]`, b = (p, 1 − p) of the classes.

    Args:
      student_logits: `[B, K]`.
      teacher_logits: `[B, K]`.
      student_classes: whose probability p is, `[B]`.
      teacher_classes: the same for the teacher.
      temperature: T.
    """

    def log_binary(logits: Any, classes: Any) -> Array:
        log_p = jax.nn.log_softmax(logits / temperature)
        is_class = is_label(logits, classes)
        masks = is_class, ~is_class
        parts = [jax.nn.logsumexp(log_p, axis=-1, where=mask) for mask in masks]
        return jnp.stack(parts, axis=-1)

    divergence = optax.losses.kl_divergence_with_log_targets(
        log_binary(student_logits, student_classes),
        log_binary(teacher_logits, teacher_classes),
    )
    return divergence * temperature**2


def nkd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    temperature: Scalar = 3.0,
    ce_weight: Scalar = 1.0,
    gamma: Scalar = 3.5,
) -> Losses:
    """Computes Normalized Knowledge Distillation, of cross-entropies.

    p and q are the student's and the teacher's probabilities, p̂ and q̂ those at
    temperature T given that the label's class is excluded:

      L = w_ce · CE(S, y) − q_label · log p_label − γ · T² · Σ q̂ · log p̂

    The distillation isn't 0 for equal logits, because it is no divergence.

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      temperature: T.
      ce_weight: weight of the cross-entropy against the labels.
      gamma: weight of the other classes.

    Returns:
      `loss_ce` and `loss_nkd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> logits = jnp.eye(2, 4)
      >>> terms = losses.nkd(0 * logits, logits, jnp.array([0, 3]))
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_nkd': '35.057'}

    References:
      Yang et al., From Knowledge Distillation to Self-Knowledge Distillation, ICCV
      2023.
      yzd-v/cls_KD, mmcls/models/dis_losses/nkd.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    target = target_cross_entropy(student_logits, teacher_logits, labels)
    excluded = is_label(student_logits, labels)
    student, teacher = (
        without_classes(logits, excluded) / temperature
        for logits in (student_logits, teacher_logits)
    )
    others = optax.softmax_cross_entropy(student, jax.nn.softmax(teacher))
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_nkd": jnp.mean(target + gamma * temperature**2 * others),
    }


def rld(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    temperature: Scalar = 4.0,
    alpha_temperature: Scalar = 0.0,
    ce_weight: Scalar = 1.0,
    alpha: Scalar = 1.0,
    beta: Scalar = 8.0,
    warmup: Scalar = 20.0,
    epoch: Scalar = 1,
) -> Losses:
    """Computes Refined Logit Distillation: corrects what the teacher gets wrong.

    b is (p, 1 − p), with p the teacher's largest probability, and the student's
    probability of the label. q are the probabilities of the classes that the teacher
    thinks less likely than the label, given that all others are excluded:

      L = w_ce · CE(S, y) + min(epoch / warmup, 1) ·
          (α · Tα² · KL(b(teacher) ‖ b(student)) + β · T² · KL(q(teacher) ‖ q(student)))

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      temperature: T.
      alpha_temperature: Tα; 0 for T, as in the authors' runs on CIFAR-100.
      ce_weight: weight of the cross-entropy.
      alpha: weight of the confidence.
      beta: weight of the classes below the label.
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
      >>> terms = losses.rld(0 * logits, logits, jnp.array([0, 3]), epoch=20)
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '0.101'}

    References:
      Sun et al., Knowledge Distillation with Refined Logits, ICCV 2025.
      zju-SWJ/RLD, mdistiller/distillers/RLD.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    of_label = jnp.take_along_axis(
        jnp.asarray(teacher_logits), jnp.asarray(labels)[:, None], axis=1
    )
    excluded = jnp.asarray(teacher_logits) >= of_label
    confidence = _binary_kl(
        student_logits,
        teacher_logits,
        labels,
        jnp.argmax(teacher_logits, axis=-1),
        jnp.where(jnp.asarray(alpha_temperature) > 0, alpha_temperature, temperature),
    )
    below_label = kl_divergence(
        without_classes(student_logits, excluded),
        without_classes(teacher_logits, excluded),
        temperature,
    )
    divergence = jnp.mean(alpha * confidence + beta * below_label)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": divergence * linear_warmup(epoch, warmup),
    }
