"""scikit-learn's handwritten digits, which need no download.

1,797 scans of 8×8 pixels, enlarged to 32×32×3 for CIFAR's networks.
"""

from pathlib import Path

import numpy as np
import scipy.ndimage

from da_jax.data.interface import Dataset, Examples
from da_jax.data.preprocessing import Preprocessing

TEST_SIZE = 360
BRIGHTEST = 16
"""The largest value of the scans; the smallest is 0."""


def load(data_dir: Path | None = None) -> Dataset:
    """Loads the digits: 1,437 training and 360 test images, split by class and fixed.

    They are cropped but not flipped, because a mirrored digit isn't a digit.

    Args:
      data_dir: unused; the data comes with scikit-learn.
    """
    del data_dir
    import sklearn.datasets  # takes seconds
    import sklearn.model_selection

    digits = sklearn.datasets.load_digits()
    images = _enlarge(digits.images)
    labels = digits.target.astype(np.int32)
    train, test = sklearn.model_selection.train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=0
    )
    scaled = images[train] / 255
    mean, std = round(float(scaled.mean()), 4), round(float(scaled.std()), 4)
    return Dataset(
        train=Examples(images[train], labels[train]),
        read_test=lambda: Examples(images[test], labels[test]),
        num_classes=10,
        preprocessing=Preprocessing((mean,) * 3, (std,) * 3, flip=False),
        class_names=tuple("0123456789"),
    )


def _enlarge(scans: np.ndarray) -> np.ndarray:
    """Resizes `[N, 8, 8]` of 0 to 16 to uint8 `[N, 32, 32, 3]`, bilinearly."""
    large = scipy.ndimage.zoom(
        scans, (1, 4, 4), order=1, mode="nearest", grid_mode=True
    )
    gray = np.round(large * (255 / BRIGHTEST)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)
