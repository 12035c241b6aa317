"""Knowledge Distillation: the teacher's softened probabilities as targets.

  L = w_ce · CE(S, y) + w_kd · T² · KL(softmax(T_logits / T) ‖ softmax(S_logits / T))

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
  Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024.
  mdistiller, mdistiller/distillers/KD.py.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from da_jax.methods.interface import Outputs


def kl_divergence(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    temperature: jax.typing.ArrayLike,
) -> jax.Array:
    """KL(teacher ‖ student) at `temperature`, times its square; `[B, K]` to `[B]`."""
    log_student = jax.nn.log_softmax(student_logits / temperature)
    log_teacher = jax.nn.log_softmax(teacher_logits / temperature)
    divergence = optax.losses.kl_divergence_with_log_targets(log_student, log_teacher)
    return divergence * temperature**2


def standardize(logits: jax.Array) -> jax.Array:
    """Each row of `[B, K]` with mean 0 and standard deviation (of n − 1) 1."""
    mean = jnp.mean(logits, axis=-1, keepdims=True)
    std = jnp.std(logits, axis=-1, keepdims=True, ddof=1)
    return (logits - mean) / (std + 1e-7)


@dataclasses.dataclass(frozen=True)
class KD:
    """Knowledge Distillation.

    Weights: `temperature`, `ce_weight`, `kd_weight`.

    Attributes:
      logit_standardization: standardise both networks' logits before the divergence.
    """

    uses_teacher: ClassVar[bool] = True
    terms: ClassVar[tuple[str, ...]] = ("loss_ce", "loss_kd")
    logit_standardization: bool = False

    def losses(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: jax.Array,
        weights: Mapping[str, jax.typing.ArrayLike],
    ) -> dict[str, jax.Array]:
        """The terms of the loss, weighted; see `Method.losses`."""
        assert teacher is not None, "KD needs a teacher"
        student_logits, teacher_logits = student.logits, teacher.logits
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(
            student_logits, labels
        )
        if self.logit_standardization:
            student_logits = standardize(student_logits)
            teacher_logits = standardize(teacher_logits)
        divergence = kl_divergence(
            student_logits, teacher_logits, weights["temperature"]
        )
        return {
            "loss_ce": jnp.mean(cross_entropy) * weights["ce_weight"],
            "loss_kd": jnp.mean(divergence) * weights["kd_weight"],
        }
