"""CIFAR-100 from TFDS, and a cache of plain arrays.

The data set that TFDS has prepared is read once and written in the official order to
`DATA_DIR/da_jax/cifar100-VERSION.npz`, which is read without TFDS and TensorFlow.
"""

import contextlib
import fcntl
import io
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from da_jax.data import locations
from da_jax.data.cifar_archive import Archive, Records
from da_jax.data.interface import Dataset, Examples
from da_jax.data.preprocessing import Preprocessing
from da_jax.errors import UserError

logger = logging.getLogger(__name__)

PREPROCESSING = Preprocessing(
    mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761)
)
"""mdistiller's constants."""

CLASS_NAMES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge
    bus butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud
    cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox
    girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
    road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
    streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)
"""Names of the fine labels, in their order."""


def load(data_dir: Path) -> Dataset:
    """Loads CIFAR-100: 50,000 training and 10,000 test images of 100 classes.

    Args:
      data_dir: TFDS's folder of prepared data sets.

    Raises:
      UserError: it isn't prepared there, or needs TensorFlow to be read.
    """
    if missing := locations.missing_dataset("cifar100", data_dir):
        raise UserError(missing)
    cache = locations.cached_cifar100(data_dir)
    if cache.exists():

        def read(split: str) -> Examples:
            return _read_cache(cache, split)

    else:
        arrays = read_prepared(data_dir)
        _write_cache(cache, arrays)

        def read(split: str) -> Examples:
            return Examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])

    return Dataset(
        train=read("train"),
        read_test=lambda: read("test"),
        num_classes=100,
        preprocessing=PREPROCESSING,
        class_names=CLASS_NAMES,
    )


def archived_arrays(archive: Archive) -> dict[str, np.ndarray]:
    """Converts an official archive to the arrays of the cache."""
    arrays = {}
    for split, records in (("train", archive.train), ("test", archive.test)):
        arrays[f"{split}_images"] = records.images
        arrays[f"{split}_labels"] = records.fine.astype(np.int32)
    return arrays


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Lets one process at a time prepare the data set; warns if this one must wait.

    Raises:
      UserError: the folder can't be written.
    """
    path = locations.cached_cifar100(data_dir).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise UserError(f"{data_dir} can't be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another process is preparing CIFAR-100; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(archive: Archive, data_dir: Path) -> None:
    """Writes an archive as TFDS's prepared data set, and the cache.

    TFDS writes array_record files, which can be read without TensorFlow.
    """
    _write_prepared(archive, data_dir)
    _write_cache(locations.cached_cifar100(data_dir), read_prepared(data_dir))


def _write_prepared(
    archive: Archive, data_dir: Path, file_format: str = "array_record"
) -> None:
    from tensorflow_datasets.core import registered
    from tensorflow_datasets.image_classification import cifar

    with registered.skip_registration():

        class Cifar100(cifar.Cifar100):
            """TFDS's data set, generated from a local archive."""

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                self.info.features["label"].names = archive.fine_names
                self.info.features["coarse_label"].names = archive.coarse_names
                return {
                    "train": _tfds_examples("train", archive.train),
                    "test": _tfds_examples("test", archive.test),
                }

    builder = Cifar100(data_dir=str(data_dir), file_format=file_format)
    builder.download_and_prepare()


def _tfds_examples(split: str, records: Records) -> Iterator[tuple[int, dict]]:
    rows = zip(records.images, records.fine, records.coarse, strict=True)
    for index, (image, fine, coarse) in enumerate(rows):
        yield (
            index,
            {
                "id": f"{split}_{index:05d}",
                "image": _png(image),
                "label": int(fine),
                "coarse_label": int(coarse),
            },
        )


def _png(image: np.ndarray) -> bytes:
    """Encodes an image; TFDS would encode an array with TensorFlow."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def read_prepared(data_dir: Path) -> dict[str, np.ndarray]:
    """Reads the data set that TFDS has prepared, in the official order.

    Raises:
      UserError: its format needs TensorFlow, which isn't installed.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(locations.prepared_cifar100(data_dir)))
    arrays = {}
    for split in ("train", "test"):
        examples = sorted(_examples(builder, split), key=lambda example: example["id"])
        arrays[f"{split}_images"] = np.stack([e["image"] for e in examples])
        labels = [example["label"] for example in examples]
        arrays[f"{split}_labels"] = np.array(labels, np.int32)
    return arrays


def _examples(builder: Any, split: str) -> Iterable[dict[str, Any]]:
    if builder.info.file_format.value == "array_record":
        source = builder.as_data_source(split)
        return source.__getitems__(range(len(source)))
    try:
        import tensorflow  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError:
        raise UserError(
            f"{builder.data_path} is stored as {builder.info.file_format.value}, which"
            " takes TensorFlow to read, once: pip install tensorflow-cpu"
        ) from None
    return tfds.as_numpy(builder.as_dataset(split))


def _read_cache(cache: Path, split: str) -> Examples:
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            return Examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
    except Exception as error:  # a damaged one can raise nearly anything
        raise UserError(
            f"the cache {cache} can't be read ({error}); delete it, and the next run"
            " writes it again from the prepared data set"
        ) from error


def _write_cache(cache: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the cache completely or not at all; warns if it can't be written."""
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(cache)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        logger.warning("CIFAR-100 is not cached in %s: %s", cache, error)
