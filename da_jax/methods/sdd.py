"""Scale Decoupled Distillation, see `da_jax.losses.sdd_kd`.

The regions are cells of grids over the map that each network averages for its
classifier. The same classifier, applied to a cell's average, gives the cell's logits.

References:
  Wei et al., Scale Decoupled Distillation, CVPR 2024.
  shicaiwei123/SDD-CVPR2024, mdistiller/models/cifar/utils.py (SPP).
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, POSITIVE, Declaration, Range, setting
from da_jax.methods.interface import (
    Losses,
    MethodInputs,
    Outputs,
    Weights,
)
from da_jax.methods.logit_method import LogitMethod
from da_jax.models.layers import average_pool, parameter_dtype
from da_jax.models.network import Classifier

FINEST = 4
"""Cells on a side of the finest grid that there may be."""


class Base(NamedTuple):
    """A loss of regions, and the hyperparameters that it has."""

    loss: losses.Loss
    hyperparameters: tuple[str, ...]


BASES = {
    "KD": Base(losses.sdd_kd, ("temperature", "ce_weight", "kd_weight")),
    "DKD": Base(
        losses.sdd_dkd,
        ("temperature", "ce_weight", "alpha", "beta", "warmup", "epoch"),
    ),
    "NKD": Base(
        losses.sdd_nkd, ("temperature", "ce_weight", "gamma", "warmup", "epoch")
    ),
}


class SDD(LogitMethod):
    """Scale Decoupled Distillation, on KD, DKD or NKD."""

    features: ClassVar = ("last_map",)
    classifiers: ClassVar = ("student", "teacher")
    hyperparameters: ClassVar = {
        "kd_weight": Declaration(0.9, NOT_NEGATIVE, "weight of KD's divergences"),
        "alpha": Declaration(1.0, NOT_NEGATIVE, "weight of DKD's target class"),
        "beta": Declaration(8.0, NOT_NEGATIVE, "weight of DKD's other classes"),
        "gamma": Declaration(8.0, NOT_NEGATIVE, "weight of NKD's sum over classes"),
        "warmup": Declaration(20.0, POSITIVE, "epochs over which DKD's and NKD's rise"),
    }

    base: str = setting(
        "DKD",
        Range(lambda value: value in BASES, f"one of {', '.join(BASES)}"),
        "loss of a region; the authors' `ce_weight` is 0.1 for KD",
    )
    finest: int = setting(
        2,
        Range(lambda value: value in (1, 2, FINEST), f"1, 2 or {FINEST}"),
        f"cells on a side of the finest grid; {FINEST} for pairs of two families",
    )

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_ce` and `loss_kd`."""
        assert inputs.student_classifier is not None, "this method needs it"
        assert inputs.teacher_classifier is not None, "this method needs it"
        loss, names = BASES[self.base]
        options = {**weights, "epoch": inputs.epoch}
        return self.logit_losses(
            loss,
            inputs,
            student_regions=self.regions(inputs.student, inputs.student_classifier),
            teacher_regions=self.regions(inputs.teacher, inputs.teacher_classifier),
            **{name: options[name] for name in names},
        )

    def regions(self, outputs: Outputs, classifier: Classifier) -> jax.Array:
        """Computes a network's logits of the regions, `[B, K, N]`.

        The whole image comes first, then the cells of each grid row by row, the coarser
        grid first.
        """
        last_map = outputs.features["last_map"]
        last_map = last_map.astype(parameter_dtype(last_map.dtype))
        cells = average_pool(last_map, FINEST, FINEST)
        sides = [side for side in (1, 2, FINEST) if side <= self.finest]
        grids = [average_pool(cells, side, side) for side in sides]
        batch_size, channels = cells.shape[0], cells.shape[-1]
        pooled = jnp.concatenate(
            [grid.reshape(batch_size, -1, channels) for grid in grids], axis=1
        )
        logits = jnp.matmul(pooled, classifier.kernel, precision=self.precision)
        return jnp.swapaxes(logits + classifier.bias, 1, 2)
