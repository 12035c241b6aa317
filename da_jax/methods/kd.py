"""Knowledge Distillation, see `da_jax.losses.kd`.

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

from typing import Any, ClassVar

from da_jax import losses
from da_jax.declarations import BOOLEAN, NOT_NEGATIVE, POSITIVE, Declaration, setting
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights


class LogitMethod(Method):
    """A method that computes a loss of `da_jax.losses`, cross-entropy included."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(4.0, POSITIVE, "temperature of the softmax"),
    }

    logit_standardization: bool = setting(
        False, BOOLEAN, "standardise both networks' logits for the distillation loss"
    )

    def logit_losses(
        self, loss: losses.Loss, inputs: MethodInputs, **options: Any
    ) -> Losses:
        """Computes the terms of `loss`, with logit standardization if that is set."""
        if self.logit_standardization:
            loss = losses.logit_standardization(loss)
        logits = inputs.student.logits, inputs.teacher.logits
        terms = loss(*logits, inputs.labels, **options)
        if inputs.label_smoothing is not None:
            terms["loss_ce"] = self.cross_entropy(inputs) * options["ce_weight"]
        return terms


class KD(LogitMethod):
    """Knowledge Distillation."""

    hyperparameters: ClassVar = {
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the divergence"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(losses.kd, inputs, **weights)
