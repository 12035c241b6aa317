"""Stratified parts of a training set: subsets and validation sets."""

import dataclasses

import numpy as np

from da_jax.data.interface import Dataset, Examples
from da_jax.errors import UserError


def take_part(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Keeps `size` training examples, stratified by class and in their order.

    Reads only the labels of the other examples, and doesn't read the test set.

    Args:
      dataset: the data set.
      size: number of examples to keep.
      seed: of the choice.

    Raises:
      UserError: `size` or the rest is smaller than the number of classes.
    """
    if size == len(dataset.train.labels):
        return dataset
    _, chosen = _split("train_size", dataset, size, seed)
    return dataclasses.replace(dataset, train=_examples(dataset, chosen))


def hold_out(dataset: Dataset, size: int, seed: int) -> tuple[Dataset, Examples]:
    """Holds out `size` training examples, stratified by class.

    Doesn't read the test set.

    Args:
      dataset: the data set.
      size: number of examples to hold out.
      seed: of the choice.

    Returns:
      The data set without the held-out examples, and these; both in their order.

    Raises:
      UserError: `size` or the rest is smaller than the number of classes.
    """
    kept, held_out = _split("validation_size", dataset, size, seed)
    without = dataclasses.replace(dataset, train=_examples(dataset, kept))
    return without, _examples(dataset, held_out)


def _split(
    field: str, dataset: Dataset, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits the training set; returns the sorted indices of the rest and of `size`."""
    import sklearn.model_selection  # takes seconds

    labels = dataset.train.labels
    if min(size, len(labels) - size) < dataset.num_classes:
        most = len(labels) - dataset.num_classes
        raise UserError(
            f"config.{field} is {size}, of {len(labels)} training examples; it must be"
            f" from {dataset.num_classes}, the number of classes, to {most}"
        )
    try:
        rest, chosen = sklearn.model_selection.train_test_split(
            np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed
        )
    except ValueError as error:  # such as a class of one example
        raise UserError(f"config.{field} can't be {size}: {error}") from error
    return np.sort(rest), np.sort(chosen)


def _examples(dataset: Dataset, indices: np.ndarray) -> Examples:
    images, labels = dataset.train
    return Examples(images[indices], labels[indices])
