"""Decoupled Knowledge Distillation: the label's class and the others apart.

With b = (p_label, 1 − p_label) and q the probabilities of the other classes among
themselves, all at temperature T:

  L = w_ce · CE(S, y) + min(epoch / warm-up, 1) · T² ·
      (α · KL(b(T) ‖ b(S)) + β · KL(q(T) ‖ q(S)))

References:
  Zhao et al., Decoupled Knowledge Distillation, CVPR 2022.
  mdistiller, mdistiller/distillers/DKD.py.
"""

import jax
import jax.numpy as jnp
import optax

from da_jax.methods.interface import Batch, Losses, Weights, cross_entropy, warm_up
from da_jax.methods.kd import LogitMethod, kl_divergence


def target_divergence(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    temperature: jax.typing.ArrayLike,
) -> jax.Array:
    """T² · KL(b(T) ‖ b(S)), from `[B, K]` and `[B]` to `[B]`."""

    def log_binary(logits: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(logits / temperature)
        is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
        of_label = jax.nn.logsumexp(log_p, axis=-1, where=is_label)
        of_others = jax.nn.logsumexp(log_p, axis=-1, where=~is_label)
        return jnp.stack([of_label, of_others], axis=-1)

    divergence = optax.losses.kl_divergence_with_log_targets(
        log_binary(student_logits), log_binary(teacher_logits)
    )
    return divergence * temperature**2


def others_divergence(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    temperature: jax.typing.ArrayLike,
) -> jax.Array:
    """T² · KL(q(T) ‖ q(S)), from `[B, K]` and `[B]` to `[B]`."""
    # As far below the others as the original's: its probability is 0.
    masked = 1000.0 * jax.nn.one_hot(labels, student_logits.shape[-1])
    masked = masked.astype(student_logits.dtype) * temperature
    return kl_divergence(student_logits - masked, teacher_logits - masked, temperature)


class DKD(LogitMethod):
    """Decoupled Knowledge Distillation.

    Weights: `temperature`, `ce_weight`, `alpha` (of the label's class), `beta` (of the
    others), `warmup` in epochs.
    """

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce` and `loss_kd`."""
        logits = self.compared_logits(batch)
        arguments = (*logits, batch.labels, weights["temperature"])
        divergence = weights["alpha"] * target_divergence(*arguments) + weights[
            "beta"
        ] * others_divergence(*arguments)
        return {
            "loss_ce": cross_entropy(batch) * weights["ce_weight"],
            "loss_kd": jnp.mean(divergence) * warm_up(batch.epoch, weights["warmup"]),
        }
