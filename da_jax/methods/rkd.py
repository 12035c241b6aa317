"""Relational Knowledge Distillation: distances and angles between examples.

With the networks' pooled features, ψ_D the distances of all pairs over their mean, ψ_A
the cosines of all angles in triples, and ℓ the smooth L1 loss:

  L = w_ce · CE(S, y) + w_feat · (w_d · ℓ(ψ_D(S), ψ_D(T)) + w_a · ℓ(ψ_A(S), ψ_A(T)))

References:
  Park et al., Relational Knowledge Distillation, CVPR 2019.
  mdistiller, mdistiller/distillers/RKD.py.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from optax.losses import huber_loss

from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    taught,
)
from da_jax.methods.vectors import l2_normalize, pairwise_distances


def distances(features: jax.Array, floor: float) -> jax.Array:
    """`[B, C]` to `[B, B]`, over the mean of those that are positive."""
    of_pairs = pairwise_distances(features, floor)
    is_positive = of_pairs > 0
    return of_pairs / (jnp.sum(of_pairs) / jnp.sum(is_positive))


def angles(features: jax.Array) -> jax.Array:
    """`[B, C]` to `[B, B, B]`: at the first, the cosine between two others."""
    differences = l2_normalize(features[None] - features[:, None])
    return jnp.einsum("abc,adc->abd", differences, differences, precision="highest")


class RKD(Method):
    """Relational Knowledge Distillation, over the global batch.

    Attributes:
      floor: what a squared distance is at least.
    """

    features: ClassVar = ("pooled_feat",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of both relations"),
        "distance_weight": Declaration(25.0, NOT_NEGATIVE, "weight of distances"),
        "angle_weight": Declaration(50.0, NOT_NEGATIVE, "weight of angles"),
    }

    floor: float = 1e-12

    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`."""
        student = self.global_batch(batch.student.features["pooled_feat"])
        teacher = self.global_batch(taught(batch).features["pooled_feat"])
        of_distances = huber_loss(
            distances(student, self.floor), distances(teacher, self.floor)
        )
        of_angles = huber_loss(angles(student), angles(teacher))
        relations = (
            jnp.mean(of_distances) * weights["distance_weight"]
            + jnp.mean(of_angles) * weights["angle_weight"]
        )
        return {"loss_kd": relations * weights["feat_weight"]}
