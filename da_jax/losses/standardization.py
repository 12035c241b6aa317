"""Standardisation of logits, as a wrapper of losses."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from da_jax.losses.interface import ArrayLike, Loss, Losses


def standardize(logits: Float[ArrayLike, "B K"]) -> Float[Array, "B K"]:
    """Scales each row to mean 0 and standard deviation 1 (of K − 1 degrees)."""
    centered = jnp.subtract(logits, jnp.mean(logits, axis=-1, keepdims=True))
    squares = jnp.sum(jnp.square(centered), axis=-1, keepdims=True)
    variance = squares / (logits.shape[-1] - 1)
    # The square root has no finite gradient at 0, the variance of equal logits.
    std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
    return centered / (std + 1e-7)


FURTHER_LOGITS: dict[str, Callable[[Any], Array]] = {
    "student_strong": standardize,
    "teacher_strong": standardize,
    "student_regions": jax.vmap(standardize, -1, -1),
    "teacher_regions": jax.vmap(standardize, -1, -1),
}
"""How the arguments that are further logits are standardised, by name."""


def logit_standardization(loss: Loss) -> Loss:
    """Wraps a loss so that its term `loss_kd` compares standardised logits.

    The other terms don't change.

    Args:
      loss: a loss of this module, or of the same signature.

    Returns:
      A loss with the same arguments. It raises ValueError if there is no such term.

    Example:
      >>> import jax.numpy as jnp
      >>> from da_jax import losses
      >>> student, labels = jnp.array([[1.0, 2.0, 4.0]]), jnp.array([2])
      >>> loss = losses.logit_standardization(losses.kd)
      >>> terms = loss(student, 10 * student, labels)  # differ in scale only
      >>> print(f"{abs(terms['loss_kd']):.4f} {terms['loss_ce']:.4f}")
      0.0000 0.0170

    References:
      Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024.
    """

    @functools.wraps(loss)
    def standardized(
        student_logits: Any, teacher_logits: Any, labels: Any, **others: Any
    ) -> Losses:
        plain = loss(student_logits, teacher_logits, labels, **others)
        if "loss_kd" not in plain:
            raise ValueError(
                f"the loss has the terms {', '.join(plain)}; logit standardization"
                " needs loss_kd"
            )
        views = {
            name: of_name(others[name])
            for name, of_name in FURTHER_LOGITS.items()
            if name in others
        }
        logits = standardize(student_logits), standardize(teacher_logits)
        compared = loss(*logits, labels, **(others | views))
        return plain | {"loss_kd": compared["loss_kd"]}

    return standardized
