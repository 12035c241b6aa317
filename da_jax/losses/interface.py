"""What losses of logits share: their types, their checks and their terms."""

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
