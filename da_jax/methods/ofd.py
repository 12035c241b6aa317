"""Overhaul of Feature Distillation: stages before their ReLUs, with a margin.

r is a 1×1 convolution and batch norm to the teacher's channels. Where the teacher is
negative, the student need only be below a margin m, the mean of a channel where it is
negative, as its batch norm's parameters give it:

  L = w_ce · CE(S, y) + w_feat · Σ_stages 2^(i − n) · Σ d(r(F(S)), F(T)) / B
  d(s, t) = 0 if s ≤ max(t, m) and t ≤ 0, else (s − max(t, m))²

The teacher's features are those of train mode, normalised by the batch, as in both
originals; its running statistics stay.

References:
  Heo et al., A Comprehensive Overhaul of Feature Distillation, ICCV 2019.
  mdistiller, mdistiller/distillers/OFD.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import jax.scipy.stats

from da_jax.declarations import AT_LEAST_ONE, NOT_NEGATIVE, Declaration, setting
from da_jax.errors import UserError
from da_jax.methods.feature_maps import average_pool
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    taught,
)
from da_jax.models.network import Norm

RARELY = 0.001
"""A channel that is negative no more often has three deviations as its margin."""


def margin(norm: Norm) -> jax.Array:
    """The mean of a normal variable where it is negative, `[C]`."""
    std, mean = jnp.abs(norm.scale), norm.bias
    share = jax.scipy.stats.norm.cdf(-mean / std)
    is_rare = share <= RARELY
    density = jax.scipy.stats.norm.pdf(mean / std)
    return jnp.where(
        is_rare, -3 * std, mean - std * density / jnp.where(is_rare, 1.0, share)
    )


def partial_distance(
    student: jax.Array, teacher: jax.Array, margin: jax.Array
) -> jax.Array:
    """d summed over a stage and averaged over the batch: `[B, H, W, C]` to a scalar."""
    target = jnp.maximum(teacher, margin)
    counts = (student > target) | (teacher > 0)
    distances = jnp.where(counts, jnp.square(student - target), 0.0)
    return jnp.sum(distances) / len(student)


class OFD(Method):
    """Overhaul of Feature Distillation.

    Raises:
      UserError: the teacher has no batch norm before its stages' ReLUs.
    """

    features: ClassVar = ("preact_feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(0.001, NOT_NEGATIVE, "weight of the feature loss"),
    }

    teacher_train: ClassVar[bool] = True

    kernel_size: int = setting(
        1, AT_LEAST_ONE, "kernel size of the connectors' convolutions"
    )

    @nn.compact
    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`, of all stages but the stem."""
        if not batch.teacher_norms:
            raise UserError(NO_NORMS)
        stages = zip(
            *_last(
                batch.student.features["preact_feats"][1:],
                taught(batch).features["preact_feats"][1:],
                batch.teacher_norms,
            ),
            strict=True,
        )
        loss = jnp.zeros(())
        for stage, (student, teacher, norm) in enumerate(stages):
            channels = teacher.shape[-1]
            name = f"connector{stage}"
            student = self.conv(channels, self.kernel_size, name=f"{name}_conv")(
                student
            )
            student = self.norm(f"{name}_bn")(student, train=True)
            if teacher.shape[1] != student.shape[1]:
                teacher = average_pool(teacher, *student.shape[1:3])
            # Each stage counts twice the one before, the last one 1.
            loss = loss / 2 + partial_distance(student, teacher, margin(norm))
        return {"loss_kd": loss * weights["feat_weight"]}


NO_NORMS = (
    "method OFD takes its margins from batch norms before ReLUs, which this teacher"
    " hasn't got at the ends of its stages (as ShuffleV1 and ShuffleV2); choose another"
    " teacher or method"
)


def _last(*lists: list) -> list[list]:
    """As many of the last entries of each list as the shortest has."""
    count = min(len(entries) for entries in lists)
    return [entries[-count:] for entries in lists]
