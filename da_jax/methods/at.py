"""Attention Transfer: the student imitates where each stage is active.

A stage's attention is the mean over its channels of |activation|ᵖ, as a vector over the
pixels of L2 norm 1. The larger feature map is first average-pooled to the smaller size.

  L = w_ce · CE(S, y) + w_feat · Σ_stages mean((A(S) − A(T))²)

References:
  Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017.
  mdistiller, mdistiller/distillers/AT.py.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from da_jax.declarations import AT_LEAST_ONE, NOT_NEGATIVE, Declaration, setting
from da_jax.methods.feature_maps import stages_of_one_size
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_normalize


def attention(features: jax.Array, power: int) -> jax.Array:
    """Computes the attention of a stage: `[B, H, W, C]` to `[B, H × W]`."""
    maps = jnp.mean(features**power, axis=-1)
    return l2_normalize(maps.reshape(len(maps), -1))


def attention_loss(student: jax.Array, teacher: jax.Array, power: int) -> jax.Array:
    """Computes the loss of a stage, `[B, H, W, C]` and `[B, H, W, C']`, a scalar."""
    difference = attention(student, power) - attention(teacher, power)
    return jnp.mean(jnp.square(difference))


class AT(Method):
    """Attention Transfer."""

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1000.0, NOT_NEGATIVE, "weight of the attention"),
    }

    power: int = setting(2, AT_LEAST_ONE, "exponent of the activations")

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`, the sum over all stages but the stem."""
        losses = [
            attention_loss(student, teacher, self.power)
            for student, teacher in stages_of_one_size(inputs.student, inputs.teacher)
        ]
        return {"loss_kd": sum(losses, jnp.zeros(())) * weights["feat_weight"]}
