"""Decoupled Knowledge Distillation, see `da_jax.losses.dkd`.

References:
  Zhao et al., Decoupled Knowledge Distillation, CVPR 2022.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import StandardizableMethod


class DKD(StandardizableMethod):
    """Decoupled Knowledge Distillation."""

    hyperparameters: ClassVar = {
        "alpha": Declaration(1.0, NOT_NEGATIVE, "weight of the target class"),
        "beta": Declaration(8.0, NOT_NEGATIVE, "weight of the other classes"),
        "warmup": Declaration(20.0, POSITIVE, "epochs over which the weights rise"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.dkd, inputs, epoch=inputs.epoch, **weights)
