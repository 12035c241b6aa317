"""FitNets: the student imitates a middle stage of the teacher.

r is a convolution, batch norm and ReLU from the shape of the student's stage to that of
the teacher's:

  L = w_ce · CE(S, y) + w_feat · mean((r(F(S)) − F(T))²)

References:
  Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.
  mdistiller, mdistiller/distillers/FitNet.py and _common.py (ConvReg).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.declarations import NOT_NEGATIVE, Declaration, setting
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.models.layers import TORCH_UNIFORM, parameter_dtype, torch_bias


class FitNet(Method):
    """FitNets, trained in a single phase as in mdistiller."""

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(100.0, NOT_NEGATIVE, "weight of the hint loss"),
    }

    hint_layer: int = setting(2, NOT_NEGATIVE, "compared stage; 0 is the stem")

    @nn.compact
    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        student, hint = (
            outputs.features["feats"][self.hint_layer]
            for outputs in (inputs.student, inputs.teacher)
        )
        features = self._regress(student, hint)
        loss = jnp.mean(jnp.square(features - hint))
        return {"loss_kd": loss * weights["feat_weight"]}

    def _regress(self, features: jax.Array, hint: jax.Array) -> jax.Array:
        """Computes r: features `[B, H, W, C]` to the shape of `hint`."""
        size, target = features.shape[1], hint.shape[1]
        options: dict[str, Any] = {
            "features": hint.shape[-1],
            "kernel_init": TORCH_UNIFORM,
            "dtype": self.dtype,
            "param_dtype": parameter_dtype(self.dtype),
            "precision": self.precision,
            "name": "conv",
        }
        if 2 * size == target:
            # PyTorch takes a transposed convolution's fan-in from its output channels.
            bias_init = torch_bias(hint.shape[-1] * 16)
            convolve: nn.Module = nn.ConvTranspose(
                kernel_size=(4, 4), strides=(2, 2), bias_init=bias_init, **options
            )
        else:
            halves = size == 2 * target
            width = 3 if halves else 1 + size - target
            convolve = nn.Conv(
                kernel_size=(width, width),
                strides=2 if halves else 1,
                padding=1 if halves else 0,
                bias_init=torch_bias(features.shape[-1] * width**2),
                **options,
            )
        return nn.relu(self.norm("bn")(convolve(features), train=True))
