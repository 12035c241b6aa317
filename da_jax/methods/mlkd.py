"""Multi-Level Logit Distillation, see `da_jax.losses.mlkd`.

References:
  Jin et al., Multi-Level Logit Distillation, CVPR 2023.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import StandardizableMethod


class MLKD(StandardizableMethod):
    """Multi-Level Logit Distillation, with the correlations of the global batch."""

    hyperparameters: ClassVar = {
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the other terms"),
    }

    strong_view: ClassVar = True

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce`, `loss_kd`, `loss_cc` (classes), `loss_bc` (examples)."""
        return self.logit_losses(
            losses.mlkd,
            inputs,
            **inputs.strong_logits,
            axis_name=self.axis_name,
            **weights,
        )
