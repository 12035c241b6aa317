"""Knowledge Distillation, see `da_jax.losses.kd`.

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

from typing import Any, ClassVar

from da_jax import losses
from da_jax.declarations import BOOLEAN, NOT_NEGATIVE, POSITIVE, Declaration, setting
from da_jax.methods.interface import Batch, Losses, Method, Weights, taught


class LogitMethod(Method):
    """A method that compares logits by a loss of `da_jax.losses`."""

    logit_standardization: bool = setting(
        False, BOOLEAN, "standardise both networks' logits for the distillation loss"
    )

    def logit_losses(self, loss: losses.Loss, batch: Batch, **options: Any) -> Losses:
        """Computes the terms of `loss`, its cross-entropy included.

        Args:
          loss: of `da_jax.losses`, or one like them.
          batch: the networks' outputs and the labels.
          **options: keyword arguments of `loss`.
        """
        if self.logit_standardization:
            loss = losses.logit_standardization(loss)
        return loss(batch.student.logits, taught(batch).logits, batch.labels, **options)


class KD(LogitMethod):
    """Knowledge Distillation."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(4.0, POSITIVE, "temperature of the softmax"),
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the divergence"),
    }

    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """Computes `loss_kd`, and `loss_ce` as the base class does."""
        return self.logit_losses(losses.kd, batch, **weights)
