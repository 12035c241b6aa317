"""Knowledge Distillation, see `da_jax.losses.kd`.

References:
  Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

from da_jax import losses
from da_jax.methods.interface import Batch, Losses, Method, Weights, taught


class LogitMethod(Method):
    """A method that compares logits.

    Attributes:
      logit_standardization: standardise both networks' logits before the divergence.
    """

    logit_standardization: bool = False

    def standardized(self, loss: losses.Loss) -> losses.Loss:
        """The loss, of standardised logits if the method is set so."""
        return (
            losses.logit_standardization(loss) if self.logit_standardization else loss
        )


class KD(LogitMethod):
    """Knowledge Distillation.

    Weights: `temperature`, `ce_weight`, `kd_weight`.
    """

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce` and `loss_kd`."""
        loss = self.standardized(losses.kd)
        return loss(batch.student.logits, taught(batch).logits, batch.labels, **weights)
