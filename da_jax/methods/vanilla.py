"""Plain supervised training without a teacher."""

from typing import ClassVar

from da_jax.methods.interface import Losses, Method, MethodInputs, Weights


class Vanilla(Method):
    """The cross-entropy against the labels, without hyperparameters."""

    hyperparameters: ClassVar = {"ce_weight": None}
    uses_teacher: ClassVar = False

    def __call__(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce`."""
        del weights
        return {"loss_ce": self.cross_entropy(inputs)}
