"""Multi-Level Logit Distillation, see `da_jax.losses.mlkd`.

References:
  Jin et al., Multi-Level Logit Distillation, CVPR 2023.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration
from da_jax.methods.interface import Batch, Losses, Weights
from da_jax.methods.kd import LogitMethod


class MLKD(LogitMethod):
    """Multi-Level Logit Distillation; correlations are of the global batch."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(4.0, POSITIVE, "temperature of the softmax"),
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the other terms"),
    }

    strong_view = True

    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """Computes `loss_ce` of both views, `loss_kd`, `loss_cc` and `loss_bc`."""
        assert batch.strong is not None, "this method learns from a strong view too"
        assert batch.strong.teacher is not None, "this method needs a teacher"
        return self.logit_losses(
            losses.mlkd,
            batch,
            student_strong=batch.strong.student.logits,
            teacher_strong=batch.strong.teacher.logits,
            axis_name=self.axis_name,
            **weights,
        )
