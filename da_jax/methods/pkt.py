"""Probabilistic Knowledge Transfer: the student imitates which examples are neighbours.

P are the cosine similarities of pooled features, scaled to [0, 1], each row to sum 1:

  L = w_ce · CE(S, y) + w_feat · mean(P(T) · log((P(T) + ε) / (P(S) + ε)))

References:
  Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge
  Transfer, ECCV 2018.
  mdistiller, mdistiller/distillers/PKT.py.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_norm

EPSILON = 1e-7


def neighbour_probabilities(features: jax.Array) -> jax.Array:
    """Computes P: features `[B, C]` to `[B, B]`, rows of sum 1."""
    rows = features / (l2_norm(features) + EPSILON)
    similarity = (jnp.matmul(rows, rows.T, precision="highest") + 1) / 2
    return similarity / jnp.sum(similarity, axis=-1, keepdims=True)


class PKT(Method):
    """Probabilistic Knowledge Transfer, over the global batch."""

    features: ClassVar = ("pooled_feat",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(30000.0, NOT_NEGATIVE, "weight of the divergence"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        student, teacher = (
            neighbour_probabilities(self.global_batch(outputs.features["pooled_feat"]))
            for outputs in (inputs.student, inputs.teacher)
        )
        ratio = jnp.log((teacher + EPSILON) / (student + EPSILON))
        return {"loss_kd": jnp.mean(teacher * ratio) * weights["feat_weight"]}
