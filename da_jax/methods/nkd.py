"""Normalized Knowledge Distillation, see `da_jax.losses.nkd`.

References:
  Yang et al., From Knowledge Distillation to Self-Knowledge Distillation, ICCV 2023.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import LogitMethod


class NKD(LogitMethod):
    """Normalized Knowledge Distillation."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(3.0, POSITIVE, "temperature of the other classes"),
        "gamma": Declaration(3.5, NOT_NEGATIVE, "weight of the other classes"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_nkd`."""
        return self.logit_losses(losses.nkd, inputs, **weights)
