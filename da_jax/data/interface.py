"""The interface of a data set."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from da_jax.data.preprocessing import Preprocessing


class Examples(NamedTuple):
    """Images, uint8 `[N, 32, 32, 3]`, and labels, int32 `[N]`."""

    images: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set, in its official order.

    Attributes:
      train: the training set.
      read_test: reads the test set.
      num_classes: labels are from 0 to `num_classes - 1`.
      preprocessing: of both.
      class_names: in the order of the labels; by default "0", "1", ….
    """

    train: Examples
    read_test: Callable[[], Examples]
    num_classes: int
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.class_names:
            numbers = tuple(str(label) for label in range(self.num_classes))
            object.__setattr__(self, "class_names", numbers)

    @functools.cached_property
    def test(self) -> Examples:
        """The test set, read at the first use."""
        return self.read_test()
