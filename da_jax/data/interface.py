"""What every data set is."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from da_jax.data.preprocessing import Preprocessing


class Examples(NamedTuple):
    """uint8 images `[N, 32, 32, 3]` and their int32 labels `[N]`."""

    images: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set, in its official order.

    Attributes:
      train: the training set.
      read_test: gives the test set, when somebody asks for it.
      num_classes: labels are from 0 to below it.
      preprocessing: of both.
      class_names: in the order of the labels; by default their numbers.
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
        """The test set, read now if it wasn't before."""
        return self.read_test()
