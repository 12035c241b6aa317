"""What losses of logits share: their types, their checks and their terms."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

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


def target_cross_entropy(
    student_logits: Float[ArrayLike, "B K"],
    teacher_logits: Float[ArrayLike, "B K"],
    labels: Int[ArrayLike, " B"],
) -> Float[Array, " B"]:
    """Computes −q_label · log p_label by example, of the teacher's q."""
    probabilities = jax.nn.softmax(teacher_logits)
    of_label = jnp.take_along_axis(probabilities, jnp.asarray(labels)[:, None], axis=1)
    return of_label[:, 0] * optax.softmax_cross_entropy_with_integer_labels(
        student_logits, labels
    )


EXCLUDED = -1e9
"""A logit so far below the others that the probability of its class is 0."""


def without_classes(
    logits: Float[ArrayLike, "B K"], excluded: Bool[Array, "B K"]
) -> Float[Array, "B K"]:
    """Replaces logits so that the softmax is over the other classes."""
    return jnp.where(excluded, EXCLUDED, logits)


def is_label(
    logits: Float[ArrayLike, "B K"], labels: Int[ArrayLike, " B"]
) -> Bool[Array, "B K"]:
    """Returns which logits are the label's."""
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)


def linear_warmup(epoch: Scalar, warmup: Scalar) -> Float[Array, ""]:
    """Computes min(epoch / warmup, 1); `warmup` may be 0."""
    return jnp.minimum(jnp.divide(epoch, warmup), 1.0)


def check_logits(student_logits: Any, teacher_logits: Any, labels: Any) -> None:
    """Checks the shapes of both networks' logits and of the labels.

    Raises:
      ValueError: they don't match.
    """
    arrays = student_logits, teacher_logits, labels
    student, teacher, labels = (list(jnp.shape(array)) for array in arrays)
    if len(student) != 2 or student != teacher or labels != student[:1]:
        raise ValueError(
            f"the student's logits are {student}, the teacher's {teacher} and the"
            f" labels {labels}; they must be [B, K], [B, K] and [B]"
        )
