"""Variational Information Distillation: how well stages predict the teacher's.

With μ three 1×1 convolutions with ReLUs between them, and σ² = log(1 + eˢ) + ε a number
a channel:

  L = w_ce · CE(S, y) + w_feat · Σ_stages mean(½ ((μ(F(S)) − F(T))² / σ² + log σ²))

The original leaves s out of what is trained, so that σ² stays what it was set to; so
does this.

References:
  Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019.
  mdistiller, mdistiller/distillers/VID.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration
from da_jax.methods.feature_maps import stages_of_one_size
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    taught,
)
from da_jax.models.layers import TORCH_UNIFORM, conv


class VID(Method):
    """Variational Information Distillation."""

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the likelihood"),
        "variance": Declaration(5.0, POSITIVE, "variance of the Gaussian"),
    }

    @nn.compact
    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`, of all stages but the stem."""
        variance = jnp.asarray(weights["variance"])
        loss = jnp.zeros(())
        stages = stages_of_one_size(batch.student, taught(batch))
        for stage, (student, teacher) in enumerate(stages):
            error = jnp.square(
                self._predict(student, teacher.shape[-1], stage) - teacher
            )
            loss += 0.5 * (jnp.mean(error) / variance + jnp.log(variance))
        return {"loss_kd": loss * weights["feat_weight"]}

    def _predict(self, features: jax.Array, channels: int, stage: int) -> jax.Array:
        """`[B, H, W, C]` to `[B, H, W, channels]`."""
        for layer in range(3):
            features = conv(
                channels,
                1,
                kernel_init=TORCH_UNIFORM,
                dtype=self.dtype,
                precision=self.precision,
                name=f"regressor{stage}_{layer}",
            )(features if layer == 0 else nn.relu(features))
        return features
