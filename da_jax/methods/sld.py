"""Swapped Logit Distillation, see `da_jax.losses.sld`.

References:
  Limantoro et al., Swapped Logit Distillation via Bi-Level Teacher Alignment,
  Multimedia Systems 31, 2025.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import LogitMethod


class SLD(LogitMethod):
    """Swapped Logit Distillation of two views."""

    hyperparameters: ClassVar = {
        "temperature": None,
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropies"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the divergences"),
        "student_target_after": Declaration(
            150.0, NOT_NEGATIVE, "last epoch without the swapped student as a target"
        ),
    }

    strong_view: ClassVar = True

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(
            losses.sld, inputs, **inputs.strong_logits, epoch=inputs.epoch, **weights
        )
