"""Plain supervised training, with no teacher: how teachers are made."""

from typing import ClassVar

from da_jax import losses
from da_jax.methods.interface import Batch, Losses, Method, Weights


class Vanilla(Method):
    """The cross-entropy against the labels. It has no weights."""

    hyperparameters: ClassVar = {"ce_weight": None}
    uses_teacher: ClassVar[bool] = False

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_ce`."""
        del weights
        return {"loss_ce": losses.cross_entropy(batch.student.logits, batch.labels)}
