"""Losses of whole distributions: KD."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from da_jax.losses.interface import (
    ArrayLike,
    Losses,
    Scalar,
    check_logits,
    cross_entropy,
    kl_divergence,
)


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
    check_logits(student_logits, teacher_logits, labels)
    divergence = kl_divergence(student_logits, teacher_logits, temperature)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * kd_weight,
    }
