"""Refined Logit Distillation, see `da_jax.losses.rld`.

References:
  Sun et al., Knowledge Distillation with Refined Logits, ICCV 2025.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import StandardizableMethod


class RLD(StandardizableMethod):
    """Refined Logit Distillation."""

    hyperparameters: ClassVar = {
        "alpha_temperature": Declaration(
            0.0, NOT_NEGATIVE, "temperature of the confidence; 0: `temperature`"
        ),
        "alpha": Declaration(1.0, NOT_NEGATIVE, "weight of the confidence"),
        "beta": Declaration(8.0, NOT_NEGATIVE, "weight of the classes below the label"),
        "warmup": Declaration(20.0, POSITIVE, "epochs over which the weights rise"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.rld, inputs, epoch=inputs.epoch, **weights)
