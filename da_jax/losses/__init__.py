"""Distillation losses of logits, as pure functions.

Each returns its weighted terms by name; the loss is their sum. Terms are means over the
batch. Hyperparameters are keyword arguments, which default to the papers' values and
may be traced. Losses are differentiable by the teacher's logits too: apply
`jax.lax.stop_gradient` if the teacher isn't a constant.
"""

from da_jax.losses.correlation import dist
from da_jax.losses.decoupled import dkd, nkd, rld
from da_jax.losses.interface import (
    ArrayLike,
    Loss,
    Losses,
    Scalar,
    cross_entropy,
    kl_divergence,
)
from da_jax.losses.regions import sdd_dkd, sdd_kd, sdd_nkd
from da_jax.losses.standardization import logit_standardization, standardize
from da_jax.losses.temperature import kd, ttm, wttm
from da_jax.losses.transport import classifier_cost_matrix, wkd_l
from da_jax.losses.views import MLKD_TEMPERATURES, SLD_TEMPERATURES, crld, mlkd, sld

__all__ = [
    "MLKD_TEMPERATURES",
    "SLD_TEMPERATURES",
    "ArrayLike",
    "Loss",
    "Losses",
    "Scalar",
    "classifier_cost_matrix",
    "crld",
    "cross_entropy",
    "dist",
    "dkd",
    "kd",
    "kl_divergence",
    "logit_standardization",
    "mlkd",
    "nkd",
    "rld",
    "sdd_dkd",
    "sdd_kd",
    "sdd_nkd",
    "sld",
    "standardize",
    "ttm",
    "wkd_l",
    "wttm",
]
