"""Stratified parts of a training set: how much of it there is, and what is held out."""

import dataclasses

import numpy as np

from da_jax.data.interface import Dataset, Examples
from da_jax.errors import UserError


def take_part(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Keeps `size` training examples, from each class in proportion to its size.

    They stay in their order. Of the others only the labels are read.

    Args:
      dataset: whose test set isn't read.
      size: how many.
      seed: of the choice; it doesn't change with the runs' own seeds.

    Raises:
      UserError: there aren't as many examples, or fewer are wanted than there are
        classes.
    """
    if size == len(dataset.train.labels):
        return dataset
    _, chosen = _split("train_size", dataset, size, seed)
    return dataclasses.replace(dataset, train=_examples(dataset, chosen))


def hold_out(dataset: Dataset, size: int, seed: int) -> tuple[Dataset, Examples]:
    """Holds out `size` training examples, from each class in proportion to its size.

    Args:
      dataset: whose test set isn't read.
      size: how many.
      seed: of the choice; it doesn't change with the runs' own seeds.

    Returns:
      The data set without them, in the same order, and them.

    Raises:
      UserError: there aren't enough examples, or fewer are wanted than there are
        classes.
    """
    kept, held_out = _split("validation_size", dataset, size, seed)
    without = dataclasses.replace(dataset, train=_examples(dataset, kept))
    return without, _examples(dataset, held_out)


def _split(
    field: str, dataset: Dataset, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of the rest of the training set, and of `size` examples of it."""
    import sklearn.model_selection  # takes seconds, and only this needs it

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
