"""Probabilistic Knowledge Transfer: how probably examples are neighbours.

With cosine similarities of pooled features, brought to 0 … 1 and each row to sum 1:

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
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    taught,
)
from da_jax.methods.vectors import l2_norm

EPSILON = 1e-7


def neighbour_probabilities(features: jax.Array) -> jax.Array:
    """`[B, C]` to `[B, B]`, rows of sum 1."""
    rows = features / (l2_norm(features) + EPSILON)
    similarity = (jnp.matmul(rows, rows.T, precision="highest") + 1) / 2
    return similarity / jnp.sum(similarity, axis=-1, keepdims=True)


class PKT(Method):
    """Probabilistic Knowledge Transfer, over the global batch."""

    features: ClassVar = ("pooled_feat",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(30000.0, NOT_NEGATIVE, "weight of the divergence"),
    }

    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`."""
        student, teacher = (
            neighbour_probabilities(self.global_batch(outputs.features["pooled_feat"]))
            for outputs in (batch.student, taught(batch))
        )
        ratio = jnp.log((teacher + EPSILON) / (student + EPSILON))
        return {"loss_kd": jnp.mean(teacher * ratio) * weights["feat_weight"]}
