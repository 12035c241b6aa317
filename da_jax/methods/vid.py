"""Variational Information Distillation: the student's stages predict the teacher's.

μ is three 1×1 convolutions with ReLUs between them:

  L = w_ce · CE(S, y) + w_feat · Σ_stages mean(½ ((μ(F(S)) − F(T))² / σ² + log σ²))

The original has a σ² for each channel, but doesn't train it. Here σ² is the
hyperparameter `variance`, the original's `INIT_PRED_VAR`.

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
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.models.layers import TORCH_UNIFORM, conv


class VID(Method):
    """Variational Information Distillation."""

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the likelihood"),
        "variance": Declaration(5.0, POSITIVE, "variance of the Gaussian"),
    }

    @nn.compact
    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`, the sum over all stages but the stem."""
        variance = jnp.asarray(weights["variance"])
        loss = jnp.zeros(())
        stages = stages_of_one_size(inputs.student, inputs.teacher)
        for stage, (student, teacher) in enumerate(stages):
            predicted = self._predict(student, teacher.shape[-1], stage)
            error = jnp.mean(jnp.square(predicted - teacher))
            loss += 0.5 * (error / variance + jnp.log(variance))
        return {"loss_kd": loss * weights["feat_weight"]}

    def _predict(self, features: jax.Array, channels: int, stage: int) -> jax.Array:
        """Computes μ: `[B, H, W, C]` to `[B, H, W, channels]`."""
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
