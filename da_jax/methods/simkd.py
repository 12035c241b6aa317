"""SimKD: the student has the teacher's classifier, and learns its inputs.

M is the last map before the average over the pixels, of the student after a projector;
the larger of both is average-pooled to the other's size:

  L = w_feat · mean((M(S) − M(T))²)

The labels aren't used. The trained network is `da_jax.models.reused_classifier`'s, with
projector and the teacher's classifier, wherever it is: in the ascent, in evaluations,
in checkpoints and in exported models.

References:
  Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022.
  DefangChen/SimKD, models/util.py and helper/loops.py.
"""

from typing import ClassVar

import jax.numpy as jnp

from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.methods.feature_maps import of_one_size
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.models.layers import parameter_dtype


class SimKD(Method):
    """SimKD, with a projector of half the teacher's width."""

    features: ClassVar = ("last_map",)
    reuses_classifier: ClassVar = True
    hyperparameters: ClassVar = {
        "ce_weight": None,
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the maps' distance"),
    }

    def __call__(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        self._check(inputs)
        student, teacher = of_one_size(
            *(each.features["last_map"] for each in (inputs.student, inputs.teacher))
        )
        assert student.shape == teacher.shape, "the student's map is projected"
        squares = jnp.square(student - teacher)
        distance = jnp.mean(squares, dtype=parameter_dtype(squares.dtype))
        return {"loss_kd": distance * weights["feat_weight"]}
