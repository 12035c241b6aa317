"""Resizing of feature maps, to compare those of two networks."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from da_jax.methods.interface import Outputs


def average_pool(features: jax.Array, height: int, width: int) -> jax.Array:
    """Pools `[B, H, W, C]` as `torch.nn.functional.adaptive_avg_pool2d` does."""
    rows = _pooling(features.shape[1], height, features.dtype)
    columns = _pooling(features.shape[2], width, features.dtype)
    return jnp.einsum("bhwc,ih,jw->bijc", features, rows, columns, precision="highest")


def _pooling(size: int, target: int, dtype: jax.typing.DTypeLike) -> np.ndarray:
    """Returns the matrix `[target, size]` of the means over windows."""
    matrix = np.zeros((target, size))
    for index in range(target):
        first, last = index * size // target, -(-(index + 1) * size // target)
        matrix[index, first:last] = 1 / (last - first)
    return matrix.astype(dtype)


def of_one_size(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Average-pools the larger of two maps `[B, H, W, C]` to the smaller's size."""
    if one.shape[1] > other.shape[1]:
        return average_pool(one, *other.shape[1:3]), other
    if one.shape[1] < other.shape[1]:
        return one, average_pool(other, *one.shape[1:3])
    return one, other


def stages_of_one_size(
    student: Outputs, teacher: Outputs
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yields both networks' feature maps of each stage but the stem, in one size."""
    students, teachers = student.features["feats"], teacher.features["feats"]
    yield from map(of_one_size, students[1:], teachers[1:])
