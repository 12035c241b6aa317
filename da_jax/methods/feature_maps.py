"""Feature maps of two networks, brought to one size."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from da_jax.methods.interface import Outputs


def average_pool(features: jax.Array, height: int, width: int) -> jax.Array:
    """`torch.nn.functional.adaptive_avg_pool2d`: `[B, H, W, C]` to a smaller size."""
    rows = _pooling(features.shape[1], height, features.dtype)
    columns = _pooling(features.shape[2], width, features.dtype)
    return jnp.einsum("bhwc,ih,jw->bijc", features, rows, columns, precision="highest")


def _pooling(size: int, target: int, dtype: jax.typing.DTypeLike) -> np.ndarray:
    """`[target, size]`, each row the mean over its window."""
    matrix = np.zeros((target, size))
    for index in range(target):
        first, last = index * size // target, -(-(index + 1) * size // target)
        matrix[index, first:last] = 1 / (last - first)
    return matrix.astype(dtype)


def of_one_size(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two maps `[B, H, W, C]`, the larger one averaged down to the smaller."""
    if one.shape[1] > other.shape[1]:
        return average_pool(one, *other.shape[1:3]), other
    if one.shape[1] < other.shape[1]:
        return one, average_pool(other, *one.shape[1:3])
    return one, other


def stages_of_one_size(
    student: Outputs, teacher: Outputs
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """The outputs of each stage but the stem, of both networks, of one size."""
    stages = zip(
        student.features["feats"][1:], teacher.features["feats"][1:], strict=False
    )
    for of_student, of_teacher in stages:
        yield of_one_size(of_student, of_teacher)
