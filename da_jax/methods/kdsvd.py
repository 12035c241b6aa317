"""Distillation of singular vectors: how stages relate in their main direction.

A stage's outputs as a matrix `[C × H, W]` have right singular vectors v; the teacher's
first k, and of the student's first k + 3 those that are closest to them (with the
sign), are weighted by the teacher's singular values. What is compared is how they
change from one stage to the next, R = exp(−(v − v')² / 8):

  L = w_ce · CE(S, y) + w_feat · Σ ‖R(S) − R(T)‖² / B

References:
  Lee et al., Self-supervised Knowledge Distillation Using Singular Value
  Decomposition, ECCV 2018.
  mdistiller, mdistiller/distillers/KDSVD.py.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from da_jax.declarations import AT_LEAST_ONE, NOT_NEGATIVE, Declaration, setting
from da_jax.errors import UserError
from da_jax.methods.interface import (
    Batch,
    Losses,
    Method,
    Weights,
    taught,
)
from da_jax.methods.vectors import l2_normalize

CANDIDATES = 3
"""How many more of the student's vectors than of the teacher's are looked at."""


def right_singular(features: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The first singular values and right singular vectors of a stage.

    They are eigenvectors of a small matrix, and their gradient is that of first order
    perturbation, with no part where two singular values are the same.

    Args:
      features: `[B, H, W, C]`, as B matrices `[C × H, W]`.
      count: how many.

    Returns:
      `[B, count]` and, as columns, `[B, W, count]`.
    """
    gram = jnp.einsum("bhwc,bhvc->bwv", features, features, precision="highest")
    fixed = jax.lax.stop_gradient(gram)
    values, vectors = jnp.linalg.eigh(fixed)
    values, vectors = values[:, ::-1], vectors[:, :, ::-1]
    first = vectors[:, :, :count]
    gaps = values[:, None, :count] - values[:, :, None]
    is_apart = jnp.abs(gaps) > jnp.finfo(gaps.dtype).eps * values[:, :1, None]
    factors = jnp.where(is_apart, 1 / jnp.where(is_apart, gaps, 1.0), 0.0)
    change = jnp.einsum(
        "bwj,bwv,bvi->bji", vectors, gram - fixed, first, precision="highest"
    )
    moved = first + jnp.matmul(vectors, factors * change, precision="highest")
    return jnp.sqrt(jnp.maximum(values[:, :count], 0.0)), moved


def aligned(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """For each teacher's vector the closest of the student's, with its sign.

    From columns `[B, W, k + 3]` and `[B, W, k]` to `[B, W, k]`.
    """
    cosines = jnp.einsum("bwi,bwj->bij", student, teacher, precision="highest")
    sizes = jnp.abs(cosines)
    is_closest = sizes == jnp.max(sizes, axis=1, keepdims=True)
    signs = jnp.where(is_closest, jnp.sign(cosines), 0.0)
    return jnp.einsum("bwi,bij->bwj", student, signs, precision="highest")


def change_between(vectors: jax.Array, before: jax.Array) -> jax.Array:
    """exp(−(v − v')² / 8) of columns `[B, W, k]`, `[B, W', k]`: `[B, W, W', k]`."""
    return jnp.exp(-jnp.square(vectors[:, :, None] - before[:, None]) / 8)


class KDSVD(Method):
    """Distillation of singular vectors. Both networks' stages have the same sizes.

    Raises:
      UserError: the networks' stages have other sizes.
    """

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the relation loss"),
    }

    rank: int = setting(1, AT_LEAST_ONE, "number of the teacher's singular vectors")

    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """`loss_kd`, of all stages but the stem."""
        students = batch.student.features["feats"][1:]
        teachers = taught(batch).features["feats"][1:]
        _check_widths(students, teachers)
        changes: list[jax.Array] = []
        before: tuple[jax.Array, jax.Array] | None = None
        for student, teacher in zip(students, teachers, strict=True):
            values, of_teacher = right_singular(teacher, self.rank)
            _, candidates = right_singular(student, self.rank + CANDIDATES)
            of_student = aligned(candidates, of_teacher)
            scale = l2_normalize(values)[:, None]
            vectors = of_student * scale, of_teacher * scale
            if before is not None:
                student_change = change_between(vectors[0], before[0])
                teacher_change = change_between(vectors[1], before[1])
                changes.append(jnp.sum(jnp.square(student_change - teacher_change)))
            before = vectors
        loss = sum(changes, jnp.zeros(())) / len(batch.labels)
        return {"loss_kd": loss * weights["feat_weight"]}


def _check_widths(students: list[jax.Array], teachers: list[jax.Array]) -> None:
    student, teacher = ([f.shape[2] for f in feats] for feats in (students, teachers))
    if student != teacher:
        raise UserError(
            f"method KDSVD compares vectors over the width of each stage, but the"
            f" student's stages are {student} pixels wide and the teacher's {teacher};"
            " choose another teacher or method"
        )
