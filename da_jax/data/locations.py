"""Where things lie, and what to do when they don't: known without importing JAX."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from da_jax.errors import UserError

CIFAR100_VERSION = "3.0.2"
"""Of TFDS's `cifar100`."""

CIFAR100_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
TEACHERS_PAGE = "https://github.com/megvii-research/mdistiller/releases"
RELEASED_TEACHERS = (
    "resnet56",
    "resnet110",
    "resnet32x4",
    "ResNet50",
    "wrn_40_2",
    "vgg13",
)
"""The CIFAR-100 teachers in mdistiller's `cifar_teachers.tar`."""


def data_dir(configured: str | Path = "") -> Path:
    """The folder of prepared data sets: as configured, else TFDS's own default."""
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return Path(configured or default).expanduser()


def prepared_cifar100(data_dir: Path) -> Path:
    """Where TFDS prepares CIFAR-100."""
    return data_dir / "cifar100" / CIFAR100_VERSION


def cached_cifar100(data_dir: Path) -> Path:
    """Where its arrays are cached for reading without TFDS and TensorFlow."""
    return data_dir / "da_jax" / f"cifar100-{CIFAR100_VERSION}.npz"


def missing_dataset(name: str, data_dir: Path) -> str | None:
    """What to do about a data set that isn't there; None if it is."""
    if (
        name != "cifar100"
        or cached_cifar100(data_dir).exists()
        or prepared_cifar100(data_dir).exists()
    ):
        return None
    return (
        f"CIFAR-100 is not in {data_dir}: download cifar-100-binary.tar.gz from"
        f" {CIFAR100_PAGE} and run `python -m da_jax.prepare --dataset cifar100"
        f" --archive cifar-100-binary.tar.gz --data_dir {data_dir}`"
    )


def missing_teacher(model: str, checkpoint: Path) -> str | None:
    """What to do about a teacher that isn't there; None if it is."""
    if checkpoint.is_dir():
        return None
    convert = (
        f" download cifar_teachers.tar from {TEACHERS_PAGE} and run `python -m convert"
        f" --all --source cifar_teachers.tar --output {checkpoint.parent}`, or"
    )
    return (
        f"the teacher {model} is not in {checkpoint}:"
        f"{convert if model in RELEASED_TEACHERS else ''} train it with `python -m"
        f" da_jax.main --config=configs/teacher.py:{model}` and name it with"
        f" --config.teacher.checkpoint=runs/teacher_{model}/best"
    )


def missing_matplotlib() -> str | None:
    """What to do about matplotlib if it isn't there; None if it is."""
    if importlib.util.find_spec("matplotlib"):
        return None
    return "pictures take matplotlib, which isn't installed: pip install -e '.[plots]'"


def check_prerequisites(config: Mapping[str, Any]) -> None:
    """Looks whether what a run reads is there, before anything slow starts.

    Raises:
      UserError: the teacher, the data set or a library is missing, or several.
    """
    missing = [missing_dataset(config["dataset"], data_dir(config["data_dir"]))]
    if config["teacher"]["model"]:
        teacher = config["teacher"]
        missing.append(missing_teacher(teacher["model"], Path(teacher["checkpoint"])))
    if config["gallery_every"]:
        missing.append(missing_matplotlib())
    if any(missing):
        raise UserError("; ".join(filter(None, missing)))
