"""Wasserstein Knowledge Distillation of logits, see `da_jax.losses.wkd_l`.

The costs between classes come from the weights of the teacher's classifier, one of the
authors' ways; their runs on CIFAR-100 compare the classes' features on the training set
instead.

References:
  Lv et al., Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
  Distillation, NeurIPS 2024.
"""

from typing import Any, ClassVar

from da_jax import losses
from da_jax.declarations import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    Declaration,
    setting,
)
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import LogitMethod


class WKD_L(LogitMethod):  # noqa: N801 (the authors' name)
    """Wasserstein Knowledge Distillation of logits."""

    classifiers: ClassVar = ("teacher",)
    hyperparameters: ClassVar = {
        "temperature": Declaration(8.0, POSITIVE, "temperature of the other classes"),
        "kd_weight": Declaration(600.0, NOT_NEGATIVE, "weight of the transport"),
        "regularization": Declaration(0.05, POSITIVE, "of the transport's entropy"),
        "sharpness": Declaration(1.0, POSITIVE, "of the costs"),
        "decay_start": Declaration(
            150.0, NOT_NEGATIVE, "epoch after which the transport's weight falls"
        ),
        "decay_end": Declaration(240.0, POSITIVE, "epoch in which it is 0"),
    }

    iterations: int = setting(10, AT_LEAST_ONE, "Sinkhorn's iterations")

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        assert inputs.teacher_classifier is not None, "this method needs it"
        options: dict[str, Any] = dict(weights)
        costs = losses.classifier_cost_matrix(
            inputs.teacher_classifier.kernel.T, sharpness=options.pop("sharpness")
        )
        return self.logit_losses(
            losses.wkd_l,
            inputs,
            cost_matrix=costs,
            iterations=self.iterations,
            epoch=inputs.epoch,
            **options,
        )
