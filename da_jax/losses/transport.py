"""Losses of optimal transport between the networks' probabilities: WKD-L."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from da_jax.losses.interface import (
    ArrayLike,
    Losses,
    Scalar,
    check_logits,
    cross_entropy,
    is_label,
    target_cross_entropy,
    without_classes,
)

EPSILON = 1e-8
"""Added to costs and to the divisors of Sinkhorn's iterations."""


def classifier_cost_matrix(
    weights: Float[ArrayLike, "K C"], *, sharpness: Scalar = 1.0
) -> Float[Array, "K K"]:
    """Computes WKD-L's costs from a classifier's weights.

    With the cosine of the weights of two classes, the cost of moving probability from
    one to the other is 1 − exp(−s · (1 − cosine)).

    Args:
      weights: the last layer's, a row for each class.
      sharpness: s.

    Returns:
      The costs, 0 on the diagonal.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> costs = losses.classifier_cost_matrix(jnp.array([[1.0, 0.0], [0.0, 2.0]]))
      >>> print([[f"{cost:.3f}" for cost in row] for row in costs])
      [['0.000', '0.632'], ['0.632', '0.000']]

    References:
      Lv et al., Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
      Distillation, NeurIPS 2024.
      JiamingLv/WKD, mdistiller/distillers/WKD.py (`COST_MATRIX: fc`).
    """
    rows = weights / jnp.linalg.norm(weights, axis=1, keepdims=True)
    cosines = jnp.matmul(rows, rows.T, precision="highest")
    return 1 - jnp.exp(-sharpness * (1 - cosines))


def wkd_l(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    cost_matrix: Float[ArrayLike, "K K"],
    temperature: Scalar = 8.0,
    ce_weight: Scalar = 1.0,
    kd_weight: Scalar = 600.0,
    regularization: Scalar = 0.05,
    iterations: int = 10,
    decay_start: Scalar = 150.0,
    decay_end: Scalar = 240.0,
    epoch: Scalar = 1,
) -> Losses:
    """Computes Wasserstein distance distillation of logits.

    p and q are the student's and the teacher's probabilities, p̂ and q̂ those at
    temperature T given that the label's class is excluded. W(p̂, q̂) is the cost of
    Sinkhorn's transport, through whose iterations gradients pass:

      L = w_ce · CE(S, y) − q_label · log p_label + w_kd · d(epoch) · W(p̂, q̂)

    d falls from 1 to 0 between two epochs, along half a cosine.

    Args:
      student_logits: the student's logits.
      teacher_logits: the teacher's logits.
      labels: the classes.
      cost_matrix: costs of moving probability from the student's class (row) to the
        teacher's, at least 0; see `classifier_cost_matrix`.
      temperature: T.
      ce_weight: weight of the cross-entropy.
      kd_weight: weight of the transport.
      regularization: of the entropy of the transport.
      iterations: how many of Sinkhorn's.
      decay_start: the last epoch with the whole weight of the transport.
      decay_end: the first epoch without it.
      epoch: counted from 1.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> logits, costs = 8 * jnp.eye(2, 4), 0.1 * (1 - jnp.eye(4))
      >>> labels = jnp.array([2, 3])
      >>> terms = losses.wkd_l(0 * logits, logits, labels, cost_matrix=costs)
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '19.418'}

    References:
      Lv et al., Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
      Distillation, NeurIPS 2024.
      JiamingLv/WKD, mdistiller/distillers/WKD.py.
    """
    check_logits(student_logits, teacher_logits, labels)
    _check_costs(cost_matrix, student_logits.shape[-1])
    target = target_cross_entropy(student_logits, teacher_logits, labels)
    excluded = is_label(student_logits, labels)
    student, teacher = (
        jax.nn.softmax(without_classes(logits, excluded) / temperature)
        for logits in (student_logits, teacher_logits)
    )
    costs = jax.nn.relu(cost_matrix) + EPSILON
    transport = _sinkhorn_cost(
        student, teacher, ~excluded, costs, regularization, iterations
    )
    length = jnp.maximum(jnp.subtract(decay_end, decay_start), EPSILON)
    progress = (jnp.asarray(epoch) - decay_start) / length
    decay = (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1))) / 2
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": jnp.mean(target) + jnp.mean(transport) * kd_weight * decay,
    }


def _sinkhorn_cost(
    student: Float[Array, "B K"],
    teacher: Float[Array, "B K"],
    included: Bool[Array, "B K"],
    costs: Float[Array, "K K"],
    regularization: Scalar,
    iterations: int,
) -> Float[Array, " B"]:
    """Computes the cost of Sinkhorn's transport, by example.

    An excluded class has no probability, so its row and column of the transport are 0:
    all examples share a matrix, whose products are cheaper than those of theirs.
    """

    def product(vectors: Array, matrix: Array) -> Array:
        return jnp.matmul(vectors, matrix, precision="highest")

    kernel = jnp.exp(-costs / regularization)
    rows = included / jnp.sum(included, axis=-1, keepdims=True)
    columns = teacher
    for _ in range(iterations):
        columns = teacher / (product(rows, kernel) + EPSILON)
        rows = student / (product(columns, kernel.T) + EPSILON)
    return jnp.sum(product(rows, kernel * costs) * columns, axis=-1)


def _check_costs(cost_matrix: ArrayLike, num_classes: int) -> None:
    shape = list(jnp.shape(cost_matrix))
    if shape != [num_classes, num_classes]:
        raise ValueError(
            f"the cost matrix is {shape} and there are {num_classes} classes; it must"
            " be [K, K]"
        )
