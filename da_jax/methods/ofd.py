"""Overhaul of Feature Distillation: the student imitates stages before their ReLUs.

r is a 1×1 convolution and batch norm to the teacher's channels. Where the teacher is
negative, the student's target is any value below a margin m: the expectation of the
negative values of a channel, from the parameters of its batch norm.

  L = w_ce · CE(S, y) + w_feat · Σ_stages 2^(i − n) · Σ d(r(F(S)), F(T)) / B
  d(s, t) = 0 if s ≤ max(t, m) and t ≤ 0, else (s − max(t, m))²

As in both originals, the teacher is in train mode, so normalised by the batch; its
running statistics don't change.

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
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.models.layers import average_pool
from da_jax.models.network import Norm

RARELY = 0.001
"""Below this probability of negative values, the margin is -3 standard deviations."""


def margin(norm: Norm) -> jax.Array:
    """Computes m, the conditional mean of a normal variable below 0, `[C]`."""
    std, mean = jnp.abs(norm.scale), norm.bias
    probability = jax.scipy.stats.norm.cdf(-mean / std)
    is_rare = probability <= RARELY
    density = jax.scipy.stats.norm.pdf(mean / std)
    return jnp.where(
        is_rare, -3 * std, mean - std * density / jnp.where(is_rare, 1.0, probability)
    )


def partial_distance(
    student: jax.Array, teacher: jax.Array, margin: jax.Array
) -> jax.Array:
    """Sums d over a stage, averaged over the batch: `[B, H, W, C]` to a scalar."""
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
    teacher_train: ClassVar = True
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(0.001, NOT_NEGATIVE, "weight of the feature loss"),
    }

    kernel_size: int = setting(
        1, AT_LEAST_ONE, "kernel size of the connectors' convolutions"
    )

    @nn.compact
    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`, the weighted sum over all stages but the stem."""
        if not inputs.teacher_norms:
            raise UserError(
                "method OFD takes its margins from batch norms before ReLUs, but this"
                " teacher has none at the ends of its stages (ShuffleV1 and ShuffleV2"
                " have none); choose another teacher or method"
            )
        stages = zip(
            *_last(
                inputs.student.features["preact_feats"][1:],
                inputs.teacher.features["preact_feats"][1:],
                inputs.teacher_norms,
            ),
            strict=True,
        )
        loss = jnp.zeros(())
        for stage, (student, teacher, norm) in enumerate(stages):
            channels, name = teacher.shape[-1], f"connector{stage}"
            connect = self.conv(channels, self.kernel_size, name=f"{name}_conv")
            student = self.norm(f"{name}_bn")(connect(student), train=True)
            if teacher.shape[1] != student.shape[1]:
                teacher = average_pool(teacher, *student.shape[1:3])
            # A stage's weight is twice the previous one's; the last one's is 1.
            loss = loss / 2 + partial_distance(student, teacher, margin(norm))
        return {"loss_kd": loss * weights["feat_weight"]}


def _last(*lists: list) -> list[list]:
    """Truncates each list to the length of the shortest, from the end."""
    count = min(len(entries) for entries in lists)
    return [entries[-count:] for entries in lists]
