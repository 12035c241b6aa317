"""Methods of logits: losses of `da_jax.losses` with declared hyperparameters."""

from typing import Any, ClassVar

from da_jax import losses
from da_jax.declarations import BOOLEAN, POSITIVE, Declaration, setting
from da_jax.methods.interface import Losses, Method, MethodInputs


class LogitMethod(Method):
    """A method that computes a loss of `da_jax.losses`, cross-entropy included."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(4.0, POSITIVE, "temperature of the softmax"),
    }

    def logit_losses(
        self, loss: losses.Loss, inputs: MethodInputs, **options: Any
    ) -> Losses:
        """Computes the terms of `loss`."""
        return loss(*inputs.logits, **options)


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
