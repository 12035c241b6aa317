"""What every data set is."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from da_jax.preprocessing import Preprocessing


class Examples(NamedTuple):
    """uint8 images `[N, 32, 32, 3]` and their int32 labels `[N]`."""

    images: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in memory, in its official order."""

    train: Examples
    test: Examples
    num_classes: int
    preprocessing: Preprocessing
