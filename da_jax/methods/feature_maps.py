"""Feature maps of two networks, in one size."""

from collections.abc import Iterator

import jax

from da_jax.methods.interface import Outputs
from da_jax.models.layers import average_pool


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
