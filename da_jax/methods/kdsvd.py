"""Distillation of singular vectors: the student imitates how these change over stages.

v are the first k right singular vectors of a teacher's stage as a matrix `[C × H, W]`,
and for the student, the closest of its first k + 3 with their signs. Both are weighted
by the teacher's singular values. With v' the vectors of the stage before,
R = exp(−(v − v')² / 8):

  L = w_ce · CE(S, y) + w_feat · Σ ‖R(S) − R(T)‖² / B

References:
  Lee et al., Self-supervised Knowledge Distillation Using Singular Value
  Decomposition, ECCV 2018.
  mdistiller, mdistiller/distillers/KDSVD.py.
"""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp

from da_jax.declarations import AT_LEAST_ONE, NOT_NEGATIVE, Declaration, setting
from da_jax.errors import UserError
from da_jax.methods.interface import Losses, Method, MethodInputs, Weights
from da_jax.methods.vectors import l2_normalize

CANDIDATES = 3
"""Number of the student's vectors minus the number of the teacher's."""


def right_singular(features: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Computes the first singular values and right singular vectors of a stage.

    The vectors are eigenvectors of the Gram matrix `[W, W]`. Their gradient is that of
    first-order perturbation theory, without the terms of equal singular values.

    Args:
      features: `[B, H, W, C]`, as B matrices `[C × H, W]`.
      count: number of singular values.

    Returns:
      The values `[B, count]`, and the vectors as columns `[B, W, count]`.
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
    """Selects the student's vector closest to each of the teacher's, up to the sign.

    Args:
      student: columns `[B, W, k + 3]`.
      teacher: columns `[B, W, k]`.

    Returns:
      Columns `[B, W, k]` with the teacher's signs.
    """
    cosines = jnp.einsum("bwi,bwj->bij", student, teacher, precision="highest")
    sizes = jnp.abs(cosines)
    is_closest = sizes == jnp.max(sizes, axis=1, keepdims=True)
    signs = jnp.where(is_closest, jnp.sign(cosines), 0.0)
    return jnp.einsum("bwi,bij->bwj", student, signs, precision="highest")


def relation(vectors: jax.Array, before: jax.Array) -> jax.Array:
    """Computes R of columns `[B, W, k]` and `[B, W', k]`: `[B, W, W', k]`."""
    return jnp.exp(-jnp.square(vectors[:, :, None] - before[:, None]) / 8)


def weighted_vectors(
    student: jax.Array, teacher: jax.Array, rank: int
) -> tuple[jax.Array, jax.Array]:
    """Computes v of both networks for a stage, as columns `[B, W, rank]`."""
    values, teacher_vectors = right_singular(teacher, rank)
    _, candidates = right_singular(student, rank + CANDIDATES)
    scale = l2_normalize(values)[:, None]
    return aligned(candidates, teacher_vectors) * scale, teacher_vectors * scale


class KDSVD(Method):
    """Distillation of singular vectors.

    Raises:
      UserError: the networks' stages differ in number or width.
    """

    features: ClassVar = ("feats",)
    hyperparameters: ClassVar = {
        "feat_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the relation loss"),
    }

    rank: int = setting(1, AT_LEAST_ONE, "number of the teacher's singular vectors")

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes `loss_kd` of all stages but the stem."""
        students = inputs.student.features["feats"][1:]
        teachers = inputs.teacher.features["feats"][1:]
        _check_widths(students, teachers)
        stages = [
            weighted_vectors(student, teacher, self.rank)
            for student, teacher in zip(students, teachers, strict=True)
        ]
        losses = [
            jnp.sum(jnp.square(relation(*student_pair) - relation(*teacher_pair)))
            for student_pair, teacher_pair in (
                zip(stage, before, strict=True)
                for before, stage in itertools.pairwise(stages)
            )
        ]
        loss = sum(losses, jnp.zeros(())) / len(inputs.labels)
        return {"loss_kd": loss * weights["feat_weight"]}


def _check_widths(students: list[jax.Array], teachers: list[jax.Array]) -> None:
    student, teacher = ([f.shape[2] for f in feats] for feats in (students, teachers))
    if student != teacher:
        raise UserError(
            f"method KDSVD compares vectors over the width of each stage, but the"
            f" student's stages are {student} pixels wide and the teacher's {teacher};"
            " choose another teacher or method"
        )
