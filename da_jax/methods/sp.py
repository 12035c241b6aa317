"""Similarity-Preserving distillation: the student imitates which examples look alike.

With F the last stage's outputs as rows `[B, H × W × C]` and G = F Fᵀ, its rows of L2
norm 1:

  L = w_ce · CE(S, y) + w_feat · ‖G(S) − G(T)‖² / B²

References:
  Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019.
  mdistiller, mdistiller/distillers/SP.py.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_normalize


def similarities(features: jax.Array) -> jax.Array:
    """Computes G: features `[B, …]` to `[B, B]`, rows of L2 norm 1."""
    rows = features.reshape(len(features), -1)
    return l2_normalize(jnp.matmul(rows, rows.T, precision="highest"))


class SP(Method):
    """Similarity-Preserving distillation, over the global batch."""

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(3000.0, NOT_NEGATIVE, "weight of the similarities"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        student, teacher = (
            similarities(self.global_batch(outputs.features["feats"][-1]))
            for outputs in (inputs.student, inputs.teacher)
        )
        loss = jnp.mean(jnp.square(student - teacher))
        return {"loss_kd": loss * weights["feat_weight"]}
