"""Relational Knowledge Distillation: the student imitates distances and angles.

ψ_D are the distances between all pairs of pooled features, divided by their mean; ψ_A
the cosines of the angles in all triples; ℓ is the smooth L1 loss:

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
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_normalize, pairwise_distances


def distances(features: jax.Array, floor: float) -> jax.Array:
    """Computes ψ_D, `[B, C]` to `[B, B]`: the mean is over positive distances."""
    pairs = pairwise_distances(features, floor)
    is_positive = pairs > 0
    return pairs / (jnp.sum(pairs) / jnp.sum(is_positive))


def angles(features: jax.Array) -> jax.Array:
    """Computes ψ_A, `[B, C]` to `[B, B, B]`: the vertex is the first index."""
    differences = l2_normalize(features[None] - features[:, None])
    return jnp.einsum("abc,adc->abd", differences, differences, precision="highest")


class RKD(Method):
    """Relational Knowledge Distillation, over the global batch.

    Attributes:
      floor: lower bound of squared distances.
    """

    features: ClassVar = ("pooled_feat",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of both relations"),
        "distance_weight": Declaration(25.0, NOT_NEGATIVE, "weight of distances"),
        "angle_weight": Declaration(50.0, NOT_NEGATIVE, "weight of angles"),
    }

    floor: float = 1e-12

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        student = self.global_batch(inputs.student.features["pooled_feat"])
        teacher = self.global_batch(inputs.teacher.features["pooled_feat"])
        distance_loss = huber_loss(
            distances(student, self.floor), distances(teacher, self.floor)
        )
        angle_loss = huber_loss(angles(student), angles(teacher))
        relations = (
            jnp.mean(distance_loss) * weights["distance_weight"]
            + jnp.mean(angle_loss) * weights["angle_weight"]
        )
        return {"loss_kd": relations * weights["feat_weight"]}
