"""Knowledge Distillation, see `da_jax.losses.kd`.

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import BOOLEAN, NOT_NEGATIVE, POSITIVE, Declaration, setting
from da_jax.methods.interface import Batch, Losses, Method, Weights, taught


class LogitMethod(Method):
    """A method that compares logits."""

    logit_standardization: bool = setting(
        False, BOOLEAN, "standardise both networks' logits for the distillation loss"
    )

    def standardized(self, loss: losses.Loss) -> losses.Loss:
        """The loss, of standardised logits if the method is set so."""
        return (
            losses.logit_standardization(loss) if self.logit_standardization else loss
        )


class KD(LogitMethod):
    """Knowledge Distillation."""

    hyperparameters: ClassVar = {
        "temperature": Declaration(4.0, POSITIVE, "temperature of the softmax"),
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the divergence"),
    }

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce` and `loss_kd`."""
        loss = self.standardized(losses.kd)
        return loss(batch.student.logits, taught(batch).logits, batch.labels, **weights)
