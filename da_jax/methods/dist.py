"""DIST, see `da_jax.losses.dist`.

References:
  Huang et al., Knowledge Distillation from a Stronger Teacher, NeurIPS 2022.
"""

from typing import ClassVar

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import LogitMethod


class DIST(LogitMethod):
    """DIST, with the correlations of the global batch."""

    hyperparameters: ClassVar = {
        "kd_weight": Declaration(2.0, NOT_NEGATIVE, "weight of both correlations"),
        "beta": Declaration(1.0, NOT_NEGATIVE, "weight of the examples' correlations"),
        "gamma": Declaration(1.0, NOT_NEGATIVE, "weight of the classes' correlations"),
    }

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        return self.logit_losses(
            losses.dist, inputs, axis_name=self.axis_name, **weights
        )
