"""Losses of correlations of the networks' probabilities: DIST."""

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
)

EPSILON = 1e-8
"""Added to the product of norms that a correlation is divided by."""


def dist(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 1.0,
    kd_weight: Scalar = 2.0,
    beta: Scalar = 1.0,
    gamma: Scalar = 1.0,
    axis_name: str | None = None,
) -> Losses:
    """Computes DIST: Pearson correlations instead of a divergence.

    r correlates both networks' probabilities p at temperature T: of an example over the
    classes, and of a class over the examples:

      L = w_ce · CE(S, y) + w_kd · T² · (β · (1 − mean r(examples))
                                       + γ · (1 − mean r(classes)))

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      temperature: T.
      ce_weight: weight of the cross-entropy.
      kd_weight: weight of both correlations.
      beta: weight of the examples.
      gamma: weight of the classes.
      axis_name: the mapped axis of the batch; the correlations of the classes are then
        over the global batch, and the other terms those of this device's part.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> teacher = jnp.eye(2, 4)
      >>> terms = losses.dist(2 * teacher, teacher, jnp.array([0, 1]))
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '0.341', 'loss_kd': '16.000'}

    References:
      Huang et al., Knowledge Distillation from a Stronger Teacher, NeurIPS 2022.
      hunto/image_classification_sota, lib/models/losses/dist_kd.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    student, teacher = (
        jax.nn.softmax(logits / temperature)
        for logits in (student_logits, teacher_logits)
    )
    by_example = 1 - jnp.mean(_correlations(student, teacher))
    if axis_name is not None:
        student, teacher = jax.lax.all_gather((student, teacher), axis_name, tiled=True)
    by_class = 1 - jnp.mean(_correlations(student.T, teacher.T))
    distance = temperature**2 * (beta * by_example + gamma * by_class)
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": distance * kd_weight,
    }


def _correlations(student: Array, teacher: Array) -> Array:
    """Computes Pearson's correlation of each row of `[N, M]`; 0 for constant rows."""
    student, teacher = (
        rows - jnp.mean(rows, axis=-1, keepdims=True) for rows in (student, teacher)
    )
    norms = [optax.safe_norm(rows, 0.0, axis=-1) for rows in (student, teacher)]
    return jnp.sum(student * teacher, axis=-1) / (norms[0] * norms[1] + EPSILON)
