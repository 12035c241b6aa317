"""Decoupled Knowledge Distillation, see `da_jax.losses.dkd`.

References:
  Zhao et al., Decoupled Knowledge Distillation, CVPR 2022.
"""

from da_jax import losses
from da_jax.methods.interface import Batch, Losses, Weights, taught
from da_jax.methods.kd import LogitMethod


class DKD(LogitMethod):
    """Decoupled Knowledge Distillation.

    Weights: `temperature`, `ce_weight`, `alpha` (of the label's class), `beta` (of the
    others), `warmup` in epochs.
    """

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce` and `loss_kd`."""
        logits = batch.student.logits, taught(batch).logits
        loss = self.standardized(losses.dkd)
        return loss(*logits, batch.labels, epoch=batch.epoch, **weights)
