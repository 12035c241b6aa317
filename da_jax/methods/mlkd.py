"""Multi-Level Logit Distillation: two views, five temperatures, three levels.

Of an image there is a weak view w and a strong one s. Of a batch's probabilities
p [B, K] at a temperature, examples are correlated as p·pᵀ and classes as pᵀ·p. With
KD, B and C the divergence of two networks' probabilities, and the squared distances of
these correlations over B and over K; temperatures t in (T, 3, 5, 2, 6):

  L = w_ce · (CE(S(w), y) + CE(S(s), y))
    + w_kd · (m · Σ_t KD_t(w) + Σ_T,3,5 KD_t(s) + Σ_2,6 KD_t(w))
    + w_kd · m · Σ_t B_t(w) + w_kd · c · Σ_t C_t(w)

m is the share of examples of which the teacher is at most as confident as of the median
one, c that of classes: both are a half, but for ties and odd numbers. In the paper they
select examples and classes; the code multiplies means by them, and so do we.

References:
  Jin et al., Multi-Level Logit Distillation, CVPR 2023.
  y4umeng/disagreement_augmentation, src/distillers/MLKD.py.
"""

import jax
import jax.numpy as jnp

from da_jax.methods.interface import Batch, Losses, Weights, cross_entropy, taught
from da_jax.methods.kd import LogitMethod, kl_divergence

TEMPERATURES = (3.0, 5.0, 2.0, 6.0)
"""Beside the one that is configured."""


def correlation_distance(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Σ (T·Tᵀ − S·Sᵀ)² / N of rows `[N, M]`, a scalar."""
    of_student, of_teacher = (
        jnp.matmul(rows, rows.T, precision="highest") for rows in (student, teacher)
    )
    return jnp.sum(jnp.square(of_teacher - of_student)) / len(student)


def share_up_to_median(values: jax.Array) -> jax.Array:
    """How many of `[N]` are at most their median, as a share."""
    return jnp.mean(values <= jnp.median(values), dtype=values.dtype)


class MLKD(LogitMethod):
    """Multi-Level Logit Distillation; correlations are of the global batch.

    Weights: `temperature` (T), `ce_weight`, `kd_weight`.
    """

    strong_view = True

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce`, `loss_kd`, `loss_cc` (classes) and `loss_bc` (examples)."""
        assert batch.strong is not None, "this method learns from a strong view too"
        temperatures = (weights["temperature"], *TEMPERATURES)
        strong = batch._replace(
            student=batch.strong.student, teacher=batch.strong.teacher
        )
        weak = [self._divergence(batch, t) for t in temperatures]
        both = [self._divergence(strong, t) for t in temperatures[:3]] + weak[3:]
        student = self.global_batch(batch.student.logits)
        teacher = self.global_batch(taught(batch).logits)
        probabilities = [
            (jax.nn.softmax(student / t), jax.nn.softmax(teacher / t))
            for t in temperatures
        ]
        confidence = jax.nn.softmax(teacher)
        of_examples = share_up_to_median(jnp.max(confidence, axis=1))
        of_classes = share_up_to_median(jnp.sum(confidence, axis=0))
        by_example = sum(correlation_distance(*rows) for rows in probabilities)
        by_class = sum(correlation_distance(s.T, t.T) for s, t in probabilities)
        kd_weight = weights["kd_weight"]
        return {
            "loss_ce": (cross_entropy(batch) + cross_entropy(strong))
            * weights["ce_weight"],
            "loss_kd": (of_examples * sum(weak) + sum(both)) * kd_weight,
            "loss_cc": of_classes * by_class * kd_weight,
            "loss_bc": of_examples * by_example * kd_weight,
        }

    def _divergence(self, batch: Batch, temperature: jax.typing.ArrayLike) -> jax.Array:
        return jnp.mean(kl_divergence(*self.compared_logits(batch), temperature))
