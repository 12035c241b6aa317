"""Divergences of the networks' probabilities of all classes: KD, TTM, WTTM."""

import jax
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


def ttm(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    exponent: Scalar = 0.1,
    ce_weight: Scalar = 1.0,
    kd_weight: Scalar = 45.0,
) -> Losses:
    """Computes Transformed Teacher Matching: only the teacher has a temperature.

    q is proportional to softmax(teacher)^l, so it has the temperature 1 / l:

      L = w_ce · CE(S, y) + w_kd · KL(q ‖ softmax(student))

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      exponent: l, of the teacher's probabilities.
      ce_weight: weight of the cross-entropy.
      kd_weight: weight of the divergence.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> terms = losses.ttm(jnp.zeros((2, 4)), 10 * jnp.eye(2, 4), jnp.array([0, 1]))
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '5.310'}

    References:
      Zheng and Yang, Knowledge Distillation Based on Transformed Teacher Matching, ICLR
      2024.
      zkxufo/TTM, distiller_zoo/ttm.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    # The power of a softmax is the softmax of scaled logits, which doesn't underflow.
    divergence = kl_divergence(student_logits, exponent * teacher_logits, 1.0)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * kd_weight,
    }


def wttm(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    exponent: Scalar = 0.2,
    ce_weight: Scalar = 1.0,
    kd_weight: Scalar = 4.0,
) -> Losses:
    """Computes weighted TTM: smooth teacher's probabilities count more.

    U = Σ softmax(teacher)^l weights the divergence of each example from
    q = softmax(teacher)^l / U:

      L = w_ce · CE(S, y) + w_kd · U · KL(q ‖ softmax(student))

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      exponent: l, of the teacher's probabilities.
      ce_weight: weight of the cross-entropy.
      kd_weight: weight of the divergences.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> terms = losses.wttm(jnp.zeros((2, 4)), 10 * jnp.eye(2, 4), jnp.array([0, 1]))
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '2.632'}

    References:
      Zheng and Yang, Knowledge Distillation Based on Transformed Teacher Matching, ICLR
      2024.
      zkxufo/TTM, distiller_zoo/wttm.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    log_powers = exponent * jax.nn.log_softmax(teacher_logits)
    weights = jnp.exp(jax.nn.logsumexp(log_powers, axis=-1))
    divergence = weights * kl_divergence(student_logits, log_powers, 1.0)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(divergence) * kd_weight,
    }
