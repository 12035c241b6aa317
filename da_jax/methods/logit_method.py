"""Methods of logits: losses of `da_jax.losses` with declared hyperparameters."""

from typing import Any, ClassVar

import jax

from da_jax import losses
from da_jax.declarations import BOOLEAN, POSITIVE, Declaration, setting
from da_jax.methods.interface import Losses, Method, MethodInputs, cross_entropy


class LogitMethod(Method):
    """A method that computes a loss of `da_jax.losses`, cross-entropy included."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(4.0, POSITIVE, "temperature of the softmax"),
    }

    def logit_losses(
        self, loss: losses.Loss, inputs: MethodInputs, **options: Any
    ) -> Losses:
        """Computes the terms of `loss`, with label smoothing if that is set."""
        terms = loss(*inputs.logits, **options)
        if inputs.label_smoothing is not None:
            terms["loss_ce"] = self.cross_entropy(inputs) * options["ce_weight"]
        return terms

    def cross_entropy(self, inputs: MethodInputs) -> jax.Array:
        """Computes the mean cross-entropy, of two views their sum."""
        of_weak_view = super().cross_entropy(inputs)
        if not self.strong_view:
            return of_weak_view
        assert inputs.strong is not None, "this method needs a strong view"
        return of_weak_view + cross_entropy(inputs.strong.student.logits, inputs)


class StandardizableMethod(LogitMethod):
    """A `LogitMethod` that its authors, or logit standardization's, standardise."""

    logit_standardization: bool = setting(
        False, BOOLEAN, "standardise both networks' logits for the distillation loss"
    )

    def logit_losses(
        self, loss: losses.Loss, inputs: MethodInputs, **options: Any
    ) -> Losses:
        """Computes the terms of `loss`, with logit standardization if that is set."""
        if self.logit_standardization:
            loss = losses.logit_standardization(loss)
        return super().logit_losses(loss, inputs, **options)
