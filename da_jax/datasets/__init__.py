"""DATASETS: every data set by name."""

from collections.abc import Callable
from pathlib import Path

from da_jax.datasets import cifar100, digits
from da_jax.datasets.interface import Dataset, Examples
from da_jax.errors import unknown_name

__all__ = ["DATASETS", "Dataset", "Examples", "load_dataset"]

DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "cifar100": cifar100.load,
    "digits": digits.load,
}
"""Name to a function of the folder that holds prepared data sets."""


def load_dataset(name: str, data_dir: Path) -> Dataset:
    """The data set `name`, prepared in `data_dir` or embedded.

    Raises:
      UserError: no such data set, or it isn't prepared.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name](data_dir)
