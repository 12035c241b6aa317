"""Losses of the regions of images, Scale Decoupled Distillation: on KD, DKD and NKD."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from da_jax.losses.decoupled import decoupled_divergence
from da_jax.losses.interface import (
    ArrayLike,
    Losses,
    Scalar,
    check_logits,
    cross_entropy,
    kl_divergence,
    linear_warmup,
    target_cross_entropy,
)

AMBIGUOUS = 2.0
"""The weight of a region that the teacher gets right and the whole wrong, or the other
way round; that of others is 1."""


def sdd_kd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_regions: Float[ArrayLike, "B K N"],
    teacher_regions: Float[ArrayLike, "B K N"],
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 0.1,
    kd_weight: Scalar = 0.9,
) -> Losses:
    """Computes Scale Decoupled Distillation on KD.

    Each region r of an image has logits, and so has the whole image, which is one of
    its N regions. a is 2 where the teacher is right about either the region or the
    image, but not both, and else 1:

      L = w_ce · CE(S, y) + w_kd · Σ_r a_r · T² · KL(teacher_r / T ‖ student_r / T) / N

    KL is that of the softmax.

    Args:
      student_logits: the student's logits of the images.
      teacher_logits: the teacher's logits of the images.
      labels: the classes.
      student_regions: the student's logits of the regions, in any order.
      teacher_regions: the teacher's, in the same order.
      temperature: T.
      ce_weight: weight of the cross-entropy.
      kd_weight: weight of the divergences.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> whole, labels = jnp.eye(2, 4), jnp.array([0, 2])
      >>> regions = jnp.stack([whole, 2 * whole, 3 * whole], axis=-1)
      >>> terms = losses.sdd_kd(
      ...     0 * whole, whole, labels,
      ...     student_regions=0 * regions, teacher_regions=regions,
      ... )
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '0.139', 'loss_kd': '0.467'}

    References:
      Wei et al., Scale Decoupled Distillation, CVPR 2024.
      shicaiwei123/SDD-CVPR2024, mdistiller/distillers/KD.py.
    """
    check_logits(student_logits, teacher_logits, labels)

    def divergence(student: Array, teacher: Array, _: Array) -> Array:
        return kl_divergence(student, teacher, temperature)

    distances = _over_regions(
        divergence, teacher_logits, labels, student_regions, teacher_regions
    )
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": distances * kd_weight,
    }


def sdd_dkd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_regions: Float[ArrayLike, "B K N"],
    teacher_regions: Float[ArrayLike, "B K N"],
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 1.0,
    alpha: Scalar = 1.0,
    beta: Scalar = 8.0,
    warmup: Scalar = 20.0,
    epoch: Scalar = 1,
) -> Losses:
    """Computes Scale Decoupled Distillation on DKD.

    The divergence of a region is that of `dkd`, see `sdd_kd` for its weight.

    Args:
      student_logits: the student's logits of the images.
      teacher_logits: the teacher's logits of the images.
      labels: the classes.
      student_regions: the student's logits of the regions, in any order.
      teacher_regions: the teacher's, in the same order.
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
      >>> whole, labels = jnp.eye(2, 4), jnp.array([0, 2])
      >>> regions = jnp.stack([whole, 2 * whole, 3 * whole], axis=-1)
      >>> terms = losses.sdd_dkd(
      ...     0 * whole, whole, labels,
      ...     student_regions=0 * regions, teacher_regions=regions, epoch=20,
      ... )
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '2.567'}

    References:
      Wei et al., Scale Decoupled Distillation, CVPR 2024.
      shicaiwei123/SDD-CVPR2024, mdistiller/distillers/SDD_DKD.py.
    """
    check_logits(student_logits, teacher_logits, labels)

    def divergence(student: Array, teacher: Array, labels: Array) -> Array:
        return decoupled_divergence(student, teacher, labels, temperature, alpha, beta)

    distances = _over_regions(
        divergence, teacher_logits, labels, student_regions, teacher_regions
    )
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": distances * linear_warmup(epoch, warmup),
    }


def sdd_nkd(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
    *,
    student_regions: Float[ArrayLike, "B K N"],
    teacher_regions: Float[ArrayLike, "B K N"],
    temperature: Scalar = 4.0,
    ce_weight: Scalar = 1.0,
    gamma: Scalar = 8.0,
    warmup: Scalar = 20.0,
    epoch: Scalar = 1,
) -> Losses:
    """Computes Scale Decoupled Distillation on NKD.

    The loss of a region is that of `nkd`, see `sdd_kd` for its weight; but as in the
    authors' code, the sum over the other classes includes the label's.

    Args:
      student_logits: the student's logits of the images.
      teacher_logits: the teacher's logits of the images.
      labels: the classes.
      student_regions: the student's logits of the regions, in any order.
      teacher_regions: the teacher's, in the same order.
      temperature: T.
      ce_weight: weight of the cross-entropy against the labels.
      gamma: weight of the sum over the classes.
      warmup: epochs over which the weight of the regions rises; 0 for none.
      epoch: counted from 1.

    Returns:
      `loss_ce` and `loss_kd`.

    Raises:
      ValueError: the shapes don't match.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> whole, labels = jnp.eye(2, 4), jnp.array([0, 2])
      >>> regions = jnp.stack([whole, 2 * whole, 3 * whole], axis=-1)
      >>> terms = losses.sdd_nkd(
      ...     0 * whole, whole, labels,
      ...     student_regions=0 * regions, teacher_regions=regions, epoch=20,
      ... )
      >>> print({name: f"{term:.3f}" for name, term in terms.items()})
      {'loss_ce': '1.386', 'loss_kd': '177.994'}

    References:
      Wei et al., Scale Decoupled Distillation, CVPR 2024.
      shicaiwei123/SDD-CVPR2024, mdistiller/distillers/SDD_nkd.py.
    """
    check_logits(student_logits, teacher_logits, labels)

    def distance(student: Array, teacher: Array, labels: Array) -> Array:
        target = target_cross_entropy(student, teacher, labels)
        probabilities = jax.nn.softmax(teacher / temperature)
        every = optax.softmax_cross_entropy(student / temperature, probabilities)
        return target + gamma * temperature**2 * every

    distances = _over_regions(
        distance, teacher_logits, labels, student_regions, teacher_regions
    )
    return {
        "loss_ce": cross_entropy(student_logits, labels) * ce_weight,
        "loss_kd": distances * linear_warmup(epoch, warmup),
    }


def _over_regions(
    distance: Callable[[Array, Array, Array], Array],
    teacher_logits: Any,
    labels: Any,
    student_regions: Any,
    teacher_regions: Any,
) -> Array:
    """Computes the weighted mean of a distance over examples and regions, a scalar.

    Args:
      distance: of student's and teacher's logits `[B, K]` and labels `[B]`, by example.
      teacher_logits: `[B, K]`.
      labels: `[B]`.
      student_regions: `[B, K, N]`.
      teacher_regions: `[B, K, N]`.
    """
    _check_regions(teacher_logits, student_regions, teacher_regions)
    labels = jnp.asarray(labels)
    of_regions = jax.vmap(distance, (-1, -1, None), -1)
    distances = of_regions(student_regions, teacher_regions, labels)
    is_right = jnp.argmax(teacher_logits, axis=1) == labels
    region_is_right = jnp.argmax(teacher_regions, axis=1) == labels[:, None]
    weights = jnp.where(region_is_right == is_right[:, None], 1.0, AMBIGUOUS)
    return jnp.mean(weights * distances)


def _check_regions(
    teacher_logits: Any, student_regions: Any, teacher_regions: Any
) -> None:
    arrays = student_regions, teacher_regions
    student, teacher = (list(jnp.shape(array)) for array in arrays)
    of_images = list(jnp.shape(teacher_logits))
    if len(student) != 3 or student != teacher or student[:2] != of_images:
        raise ValueError(
            f"the student's regions are {student} and the teacher's {teacher}, with"
            f" logits {of_images}; they must be [B, K, N], with logits [B, K]"
        )
