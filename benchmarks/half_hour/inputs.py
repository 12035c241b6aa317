"""The tasks' data set and teachers, from the published files."""

import shutil
from pathlib import Path

import jax
import numpy as np

from benchmarks.half_hour.sizes import Size
from benchmarks.task import TaskSpec
from da_jax.commands.convert import convert_file
from da_jax.data import cifar100, locations
from da_jax.data.cifar_archive import read_archive
from da_jax.errors import UserError
from da_jax.storage.model_folders import Model, save_model
from tests import golden

TEST_IMAGES = 64
"""Number of test images in a rehearsal."""


def check(
    data: Path | None, teachers: Path | None, size: Size, is_rehearsal: bool
) -> None:
    """Checks that the input files exist.

    Raises:
      UserError: one is missing.
    """
    if data is None and not is_rehearsal:
        raise UserError("--cifar100 FOLDER is missing (--rehearse does without)")
    if teachers is None and not is_rehearsal:
        raise UserError("--teachers FOLDER is missing (--rehearse does without)")
    if data is not None and not data.exists():
        raise UserError(f"there is no --cifar100 {data}")
    if teachers is not None and not _checkpoint(teachers, size).is_file():
        raise UserError(f"there is no {_checkpoint(teachers, size)}")


def _checkpoint(teachers: Path, size: Size) -> Path:
    return teachers / f"cifar100_{size.training[0]}.pth"


def prepare(
    data: Path | None, teachers: Path | None, size: Size, scratch: Path
) -> None:
    """Writes the data set's cache and the teacher to where the tasks read them.

    Args:
      data: the official binary files, the cache, or None for the few images of
        CIFAR-100 in the tests.
      teachers: folder of PyTorch's checkpoints, or None for an untrained teacher.
      size: of the benchmark.
      scratch: folder for `data` and `checkpoints`.

    Raises:
      UserError: a file is damaged.
    """
    target = locations.cached_cifar100(scratch / "data")
    target.parent.mkdir(parents=True)
    caches = sorted(data.glob("cifar100-*.npz")) if data and data.is_dir() else []
    if caches and not size.train_images:
        shutil.copy(caches[0], target)
    else:
        arrays = _few_images() if data is None else _arrays(data, caches)
        if size.train_images:
            sizes = {"train": size.train_images, "test": TEST_IMAGES}
            arrays = {
                name: array[: sizes[name.partition("_")[0]]]
                for name, array in arrays.items()
            }
        np.savez(target, **arrays)  # type: ignore[arg-type]
    teacher, _ = size.training
    folder = scratch / "checkpoints" / teacher
    if teachers is not None:
        convert_file(teacher, _checkpoint(teachers, size), folder)
    else:
        variables = jax.device_get(TaskSpec(*size.training).init_teacher())
        save_model(folder, Model(teacher, 100, variables), {})


def _few_images() -> dict[str, np.ndarray]:
    images, labels = golden.cifar100()
    labels = labels.astype(np.int32)
    train, test = slice(0, -TEST_IMAGES), slice(-TEST_IMAGES, None)
    return {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def _arrays(data: Path, caches: list[Path]) -> dict[str, np.ndarray]:
    if caches:
        with np.load(caches[0], allow_pickle=False) as arrays:
            return dict(arrays)
    return cifar100.archived_arrays(read_archive(data))
