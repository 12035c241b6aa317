"""A training batch, and random keys that don't depend on the number of devices."""

from typing import NamedTuple

import jax


class Batch(NamedTuple):
    """A device's share of a training batch.

    Attributes:
      images: normalised, `[B, H, W, C]`.
      labels: int `[B]`.
      indices: int `[B]`, the examples' places in the training set.
      strong: another view of the same examples, `[B, H, W, C]`, for methods with
        `strong_view`; else None.
    """

    images: jax.Array
    labels: jax.Array
    indices: jax.Array
    strong: jax.Array | None = None

    @property
    def views(self) -> list[jax.Array]:
        """The images, and the strong view if there is one."""
        return [self.images] if self.strong is None else [self.images, self.strong]


def device_share(values: jax.Array, axis_name: str | None) -> jax.Array:
    """Returns a device's part of `[devices × B, …]` values of the whole batch."""
    if axis_name is None:
        return values
    size = values.shape[0] // jax.lax.axis_size(axis_name)
    start = jax.lax.axis_index(axis_name) * size
    return jax.lax.dynamic_slice_in_dim(values, start, size)


def example_keys(key: jax.Array, count: int, axis_name: str | None) -> jax.Array:
    """Splits the batch's key into one for each of a device's `count` examples."""
    if axis_name is not None:
        count *= jax.lax.axis_size(axis_name)
    return device_share(jax.random.split(key, count), axis_name)
