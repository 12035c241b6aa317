"""Curriculum Temperature KD: the temperature is trained against the student.

θ is a parameter of the method, which starts at 1. With σ the sigmoid, the temperature
and the loss are

  T = t_min + t_range · σ(θ)
  L = w_ce · CE(S, y) + w_kd · T² · KL(softmax(teacher / T) ‖ softmax(student / T))

SGD trains θ as it does the student, weight decay included, but gets its gradient times
λ(epoch) = −r · (1 − cos(π · min(epoch / n, 1))) / 2, so that θ ascends the loss.

References:
  Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023.
  zhengli97/CTKD, models/temp_global.py and train_student.py (CosineDecay).
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration
from da_jax.methods.interface import Losses, MethodInputs, Weights
from da_jax.methods.logit_method import StandardizableMethod
from da_jax.models.layers import parameter_dtype

THETA = 1.0
"""θ before the first step, so T = 15.6 with the authors' values."""


def gradient_factor(
    epoch: jax.typing.ArrayLike,
    reversal: jax.typing.ArrayLike,
    reversal_epochs: jax.typing.ArrayLike,
) -> jax.Array:
    """Computes λ, from 0 down to −r over the first n epochs.

    Args:
      epoch: counted from 1.
      reversal: r.
      reversal_epochs: n.
    """
    progress = jnp.minimum(jnp.divide(epoch, reversal_epochs), 1.0)
    return (jnp.cos(jnp.pi * progress) - 1) / 2 * reversal


def scale_gradient(values: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns the values, with a gradient `factor` times as large."""
    return values + (factor - 1) * (values - jax.lax.stop_gradient(values))


class CTKD(StandardizableMethod):
    """Curriculum Temperature KD, with one temperature for all examples."""

    hyperparameters: ClassVar = {
        "temperature": None,
        "ce_weight": Declaration(0.1, NOT_NEGATIVE, "weight of the cross-entropy"),
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of the divergence"),
        "t_min": Declaration(1.0, POSITIVE, "lower bound of the temperature"),
        "t_range": Declaration(20.0, NOT_NEGATIVE, "upper bound minus the lower one"),
        "reversal": Declaration(1.0, NOT_NEGATIVE, "final factor of θ's ascent"),
        "reversal_epochs": Declaration(10.0, POSITIVE, "epochs over which it rises"),
    }

    @nn.compact
    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        init = nn.initializers.constant(THETA)
        theta = self.param("theta", init, (), parameter_dtype(self.dtype))
        factor = gradient_factor(
            inputs.epoch, weights["reversal"], weights["reversal_epochs"]
        )
        theta = scale_gradient(theta, factor.astype(theta.dtype))
        return self.logit_losses(
            losses.kd,
            inputs,
            temperature=weights["t_min"] + weights["t_range"] * nn.sigmoid(theta),
            ce_weight=weights["ce_weight"],
            kd_weight=weights["kd_weight"],
        )
