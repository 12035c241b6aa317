"""Knowledge Review: each of the teacher's stages from all later ones of the student.

From the last to the first, a stage of the student is fused with what came from the
later ones by attention (ABF) and compared with the teacher's at four sizes (HCL):

  L = w_ce · CE(S, y) + w_review · min(epoch / warm-up, 1) · Σ_stages HCL(ABF(S), F(T))

References:
  Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021.
  mdistiller, mdistiller/distillers/ReviewKD.py.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from da_jax.declarations import BOOLEAN, NOT_NEGATIVE, POSITIVE, Declaration, setting
from da_jax.errors import UserError
from da_jax.methods.feature_maps import average_pool
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Outputs,
    Weights,
    taught,
)
from da_jax.models.layers import TORCH_UNIFORM, conv, torch_bias
from da_jax.models.network import Part

REVIEW_UNIFORM = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
"""The original's `kaiming_uniform_(a=1)`."""

MOST_CHANNELS = 512
"""Between the stages."""

LEVELS = (4, 2, 1)
"""Sizes at which features are compared, each counting half of the one before."""


def hierarchical_context_loss(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """HCL of one stage, `[B, H, W, C]` both, a scalar."""
    total, weights, weight = jnp.mean(jnp.square(student - teacher)), 1.0, 1.0
    for level in LEVELS:
        if level < student.shape[1]:
            weight /= 2
            pooled = average_pool(student - teacher, level, level)
            total += weight * jnp.mean(jnp.square(pooled))
            weights += weight
    return total / weights


def resize(features: jax.Array, size: int) -> jax.Array:
    """The nearest pixels: `[B, H, W, C]` to `[B, size, size, C]`."""
    source = jnp.arange(size) * features.shape[1] // size
    return features[:, source][:, :, source]


class Fusion(Part):
    """ABF: a stage and what comes from the later ones, weighted pixel by pixel.

    Attributes:
      channels: of what goes on to the next stage.
      out_channels: of what is compared with the teacher's.
      out_size: its height and width.
    """

    channels: int
    out_channels: int
    out_size: int

    @nn.compact
    def __call__(
        self, features: jax.Array, later: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """`[B, H, W, C]` to what is compared, and to what goes on to the next stage."""
        x = self.conv(self.channels, 1, name="conv1")(features)
        x = self.norm("bn1")(x, train=True)
        if later is not None:
            later = resize(later, x.shape[1])
            attention = conv(
                2,
                1,
                use_bias=True,
                kernel_init=TORCH_UNIFORM,
                bias_init=torch_bias(2 * self.channels),
                dtype=self.dtype,
                precision=self.precision,
                name="attention",
            )(jnp.concatenate([x, later], axis=-1))
            weights = nn.sigmoid(attention)
            x = x * weights[..., :1] + later * weights[..., 1:]
        if x.shape[1] != self.out_size:
            x = resize(x, self.out_size)
        y = self.conv(self.out_channels, 3, name="conv2")(x)
        return self.norm("bn2")(y, train=True), x


class ReviewKD(Method):
    """Knowledge Review. Sizes and channels are read off the networks.

    Raises:
      UserError: the networks have different numbers of stages.
    """

    features: ClassVar = ("feats", "preact_feats", "pooled_feat")
    hyperparameters: ClassVar = {
        "review_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the review loss"),
        "warmup": Declaration(20.0, POSITIVE, "epochs over which this weight rises"),
    }

    student_preact: bool = setting(
        False, BOOLEAN, "use the student's stages before their ReLUs"
    )

    @nn.compact
    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`."""
        kind = "preact_feats" if self.student_preact else "feats"
        student = _stages(batch.student, kind)
        teacher = _stages(taught(batch), "preact_feats")
        if len(student) != len(teacher):
            raise UserError(
                f"method ReviewKD compares stage by stage, but the student has"
                f" {len(student) - 1} and the teacher {len(teacher) - 1}; choose"
                " another teacher or method"
            )
        channels = min(MOST_CHANNELS, student[-1].shape[-1])
        loss, later = jnp.zeros(()), None
        pairs = reversed(list(zip(student, teacher, strict=True)))
        for index, (features, target) in enumerate(pairs):
            fusion = Fusion(
                channels,
                target.shape[-1],
                target.shape[1],
                **(self.inherited | {"kernel_init": REVIEW_UNIFORM}),
                name=f"fusion{index}",
            )
            compared, later = fusion(features, later)
            loss += hierarchical_context_loss(compared, target)
        warm_up = jnp.minimum(batch.epoch / weights["warmup"], 1.0)
        return {"loss_kd": loss * (weights["review_weight"] * warm_up)}


def _stages(outputs: Outputs, kind: str) -> list[jax.Array]:
    """All stages but the stem, and the pooled features as one of 1×1 pixels."""
    pooled = outputs.features["pooled_feat"]
    return [*outputs.features[kind][1:], pooled[:, None, None]]
