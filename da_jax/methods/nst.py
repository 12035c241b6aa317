"""Neuron Selectivity Transfer: the student imitates which pixels activate channels.

A channel's map is a vector over the pixels of L2 norm 1, and k(a, b) = (aᵀb)². The loss
is the squared maximum mean discrepancy between both networks' channels:

  L = w_ce · CE(S, y) + w_feat · Σ_stages (mean k(T, T) + mean k(S, S) − 2 mean k(S, T))

References:
  Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity
  Transfer, 2017.
  mdistiller, mdistiller/distillers/NST.py.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.feature_maps import stages_of_one_size
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_normalize


def selectivity(features: jax.Array) -> jax.Array:
    """Normalises each channel's map: `[B, H, W, C]` to `[B, H × W, C]`."""
    maps = features.reshape(len(features), -1, features.shape[-1])
    return l2_normalize(maps, axis=1)


def mean_kernel(one: jax.Array, other: jax.Array) -> jax.Array:
    """Averages k over examples and pairs of channels, a scalar."""
    products = jnp.einsum("bpc,bpd->bcd", one, other, precision="highest")
    return jnp.mean(jnp.square(products))


def discrepancy(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Computes the loss of a stage, `[B, H, W, C]` and `[B, H, W, C']`, a scalar."""
    student, teacher = selectivity(student), selectivity(teacher)
    return (
        mean_kernel(teacher, teacher)
        + mean_kernel(student, student)
        - 2 * mean_kernel(student, teacher)
    )


class NST(Method):
    """Neuron Selectivity Transfer."""

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(50.0, NOT_NEGATIVE, "weight of the discrepancy"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`, the sum over all stages but the stem."""
        losses = [
            discrepancy(student, teacher)
            for student, teacher in stages_of_one_size(inputs.student, inputs.teacher)
        ]
        return {"loss_kd": sum(losses, jnp.zeros(())) * weights["feat_weight"]}
