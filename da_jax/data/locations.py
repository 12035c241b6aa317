"""Folders of data sets, found without importing JAX."""

import os
from pathlib import Path

CIFAR100_VERSION = "3.0.2"
"""The version of TFDS's `cifar100`."""

CIFAR100_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def data_dir(configured: str | Path = "") -> Path:
    """Returns the folder of prepared data sets: as configured, or TFDS's default."""
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return Path(configured or default).expanduser()


def prepared_cifar100(data_dir: Path) -> Path:
    """Returns the folder in which TFDS prepares CIFAR-100."""
    return data_dir / "cifar100" / CIFAR100_VERSION


def cached_cifar100(data_dir: Path) -> Path:
    """Returns the file of CIFAR-100's arrays, read without TFDS and TensorFlow."""
    return data_dir / "da_jax" / f"cifar100-{CIFAR100_VERSION}.npz"


def missing_dataset(name: str, data_dir: Path) -> str | None:
    """Says how to get a data set that is missing; None if it is there."""
    if (
        name != "cifar100"
        or cached_cifar100(data_dir).exists()
        or prepared_cifar100(data_dir).exists()
    ):
        return None
    return (
        f"CIFAR-100 is not in {data_dir}: download cifar-100-binary.tar.gz from"
        f" {CIFAR100_PAGE} and run `da-jax prepare --dataset cifar100"
        f" --archive cifar-100-binary.tar.gz --data_dir {data_dir}`"
    )
