"""Losses of the target class and the other classes separately: DKD."""

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
    kl_divergence,
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
