"""Knowledge Review: the student's later stages help to imitate earlier ones.

From the last stage to the first, attention (ABF) fuses a stage of the student with the
fused later ones. HCL compares the result with the teacher's stage at four sizes:

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
from da_jax.methods.interface import (
    Losses,
    Method,
    MethodInputs,
    Outputs,
    Weights,
)
from da_jax.models.layers import TORCH_UNIFORM, average_pool, conv, torch_bias
from da_jax.models.network import Part

REVIEW_UNIFORM = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
"""The original's `kaiming_uniform_(a=1)`."""

MOST_CHANNELS = 512
"""Upper bound of the channels of fused stages."""

LEVELS = (4, 2, 1)
"""Pooled sizes of HCL; each has half of the previous one's weight."""


def hierarchical_context_loss(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Computes HCL of a stage, `[B, H, W, C]` both, a scalar."""
    total, weights, weight = jnp.mean(jnp.square(student - teacher)), 1.0, 1.0
    for level in LEVELS:
        if level < student.shape[1]:
            weight /= 2
            pooled = average_pool(student - teacher, level, level)
            total += weight * jnp.mean(jnp.square(pooled))
            weights += weight
    return total / weights


def resize(features: jax.Array, size: int) -> jax.Array:
    """Resizes to the nearest pixels: `[B, H, W, C]` to `[B, size, size, C]`."""
    source = jnp.arange(size) * features.shape[1] // size
    return features[:, source][:, :, source]


class Fusion(Part):
    """ABF: a weighted sum of a stage and the fused later ones, by pixel.

    Attributes:
      channels: of the fused stage, which is passed on to the earlier stage.
      out_channels: of the output, which is compared with the teacher's stage.
      out_size: height and width of both.
    """

    channels: int
    out_channels: int
    out_size: int

    @nn.compact
    def __call__(
        self, features: jax.Array, later: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """Fuses `[B, H, W, C]`; returns the output and the fused stage."""
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
    """Knowledge Review.

    Raises:
      UserError: the networks' numbers of stages differ.
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
    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd`."""
        kind = "preact_feats" if self.student_preact else "feats"
        student = _stages(inputs.student, kind)
        teacher = _stages(inputs.teacher, "preact_feats")
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
        warm_up = jnp.minimum(inputs.epoch / weights["warmup"], 1.0)
        return {"loss_kd": loss * (weights["review_weight"] * warm_up)}


def _stages(outputs: Outputs, kind: str) -> list[jax.Array]:
    """Returns all stages but the stem, and the pooled features as a 1×1 stage."""
    pooled = outputs.features["pooled_feat"]
    return [*outputs.features[kind][1:], pooled[:, None, None]]
