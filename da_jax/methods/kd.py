"""Knowledge Distillation, see `da_jax.losses.kd`.

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import StandardizableMethod


class KD(StandardizableMethod):
    """Knowledge Distillation."""

    hyperparameters: ClassVar = {
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the divergence"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.kd, inputs, **weights)
