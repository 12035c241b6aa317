"""Multi-Level Logit Distillation, see `da_jax.losses.mlkd`.

References:
  Jin et al., Multi-Level Logit Distillation, CVPR 2023.
"""

from typing import ClassVar

import jax

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights, cross_entropy
from da_jax.methods.kd import LogitMethod


class MLKD(LogitMethod):
    """Multi-Level Logit Distillation, with the correlations of the global batch."""

    hyperparameters: ClassVar = {
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the other terms"),
    }

    strong_view: ClassVar = True

    def cross_entropy(self, inputs: MethodInputs) -> jax.Array:
        """Computes the sum of both views' mean cross-entropies."""
        assert inputs.strong is not None, "this method needs a strong view"
        strong = cross_entropy(inputs.strong.student.logits, inputs)
        return super().cross_entropy(inputs) + strong

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce`, `loss_kd`, `loss_cc` (classes), `loss_bc` (examples)."""
        assert inputs.strong is not None, "this method needs a strong view"
        return self.logit_losses(
            losses.mlkd,
            inputs,
            student_strong=inputs.strong.student.logits,
            teacher_strong=inputs.strong.teacher.logits,
            axis_name=self.axis_name,
            **weights,
        )
