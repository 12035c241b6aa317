"""Knowledge Distillation: the teacher's softened probabilities as targets.

  L = w_ce · CE(S, y) + w_kd · T² · KL(softmax(T_logits / T) ‖ softmax(S_logits / T))

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
  Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024.
  mdistiller, mdistiller/distillers/KD.py.
"""

import jax
import jax.numpy as jnp
import optax

from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    cross_entropy,
    taught,
)


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


class LogitMethod(Method):
    """A method that compares logits.

    Attributes:
      logit_standardization: standardise both networks' logits before the divergence.
    """

    logit_standardization: bool = False

    def compared_logits(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The student's and the teacher's, `[B, K]`."""
        student, teacher = batch.student.logits, taught(batch).logits
        if self.logit_standardization:
            return standardize(student), standardize(teacher)
        return student, teacher


class KD(LogitMethod):
    """Knowledge Distillation.

    Weights: `temperature`, `ce_weight`, `kd_weight`.
    """

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce` and `loss_kd`."""
        logits = self.compared_logits(batch)
        divergence = kl_divergence(*logits, weights["temperature"])
        return {
            "loss_ce": cross_entropy(batch) * weights["ce_weight"],
            "loss_kd": jnp.mean(divergence) * weights["kd_weight"],
        }
