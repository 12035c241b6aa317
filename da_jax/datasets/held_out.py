"""A part of the training set to choose on, so that the test set stays unseen."""

import dataclasses

import numpy as np

from da_jax.datasets.interface import Dataset, Examples
from da_jax.errors import UserError


def hold_out(dataset: Dataset, size: int, seed: int) -> tuple[Dataset, Examples]:
    """Holds `size` training examples out, as many of each class as it has shares.

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
    import sklearn.model_selection  # takes seconds, and only this needs it

    images, labels = dataset.train
    rest = len(labels) - size
    if min(size, rest) < dataset.num_classes:
        raise UserError(
            f"config.validation_size is {size}, of {len(labels)} training examples; it"
            f" must be from {dataset.num_classes}, the number of classes, to"
            f" {len(labels) - dataset.num_classes}"
        )
    kept, held_out = (
        np.sort(indices)
        for indices in sklearn.model_selection.train_test_split(
            np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed
        )
    )
    train = Examples(images[kept], labels[kept])
    return (
        dataclasses.replace(dataset, train=train),
        Examples(images[held_out], labels[held_out]),
    )
