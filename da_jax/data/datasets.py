"""DATASETS: every data set by name, checked when it is loaded."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from da_jax.data import cifar100, digits
from da_jax.data.interface import Dataset, Examples
from da_jax.errors import UserError, unknown_name

DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "cifar100": cifar100.load,
    "digits": digits.load,
}
"""Name to a function that loads the data set, given the folder of prepared ones."""


def load_dataset(name: str, data_dir: Path) -> Dataset:
    """Loads a data set; its test set is read and checked at the first use.

    Args:
      name: a key of `DATASETS`.
      data_dir: the folder of prepared data sets.

    Raises:
      UserError: there is no such data set, it isn't prepared, or its images, labels or
        class names don't have the right shape, dtype or range.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    dataset = DATASETS[name](data_dir)
    _check(name, "train", dataset.train, dataset.num_classes)
    if len(dataset.class_names) != dataset.num_classes:
        raise UserError(
            f"{name} has {dataset.num_classes} classes, but names for"
            f" {len(dataset.class_names)}"
        )

    def read_test() -> Examples:
        _check(name, "test", dataset.test, dataset.num_classes)
        return dataset.test

    return dataclasses.replace(dataset, read_test=read_test)


def _check(name: str, split: str, examples: Examples, num_classes: int) -> None:
    images, labels = examples
    if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
        raise UserError(
            f"the {split} images of {name} are {images.dtype} {list(images.shape)};"
            " the networks take uint8 [N, 32, 32, 3]"
        )
    if labels.shape != images.shape[:1] or not len(labels):
        raise UserError(
            f"{name} has {len(images)} {split} images, but labels {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"the {split} labels of {name} go from {labels.min()} to {labels.max()};"
            f" of {num_classes} classes they go from 0 to {num_classes - 1}"
        )
