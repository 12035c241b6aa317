"""Transformed Teacher Matching, see `da_jax.losses.ttm` and `wttm`.

References:
  Zheng and Yang, Knowledge Distillation Based on Transformed Teacher Matching, ICLR
  2024.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import LogitMethod


class TTM(LogitMethod):
    """Transformed Teacher Matching, with the authors' values for vgg13 → vgg8."""

    hyperparameters: ClassVar = {
        "temperature": None,
        "kd_weight": Declaration(45.0, NOT_NEGATIVE, "weight of the divergence"),
        "exponent": Declaration(0.1, NOT_NEGATIVE, "of the teacher's probabilities"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.ttm, inputs, **weights)


class WTTM(LogitMethod):
    """Weighted TTM, with the authors' values for vgg13 → vgg8 beside CRD."""

    hyperparameters: ClassVar = {
        "temperature": None,
        "kd_weight": Declaration(4.0, NOT_NEGATIVE, "weight of the divergences"),
        "exponent": Declaration(0.2, NOT_NEGATIVE, "of the teacher's probabilities"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.wttm, inputs, **weights)
