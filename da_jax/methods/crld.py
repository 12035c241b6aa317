"""Cross-view Consistency Regularisation, see `da_jax.losses.crld`.

References:
  Zhang et al., Cross-View Consistency Regularisation for Knowledge Distillation, ACM MM
  2024.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, PROBABILITY, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import LogitMethod


class CRLD(LogitMethod):
    """Cross-view Consistency Regularisation."""

    hyperparameters: ClassVar = {
        "wv_weight": Declaration(2.0, NOT_NEGATIVE, "weight within views"),
        "cv_weight": Declaration(0.5, NOT_NEGATIVE, "weight across views"),
        "tau_w": Declaration(0.9, PROBABILITY, "least confidence in the weak view"),
        "tau_s": Declaration(0.275, PROBABILITY, "least confidence in the strong view"),
    }

    strong_view: ClassVar = True

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.crld, inputs, **inputs.strong_logits, **weights)
