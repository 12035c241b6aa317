"""Readers of the official CIFAR-100 archives, which don't trust their content.

`cifar-100-binary` holds `train.bin` and `test.bin`: records of a coarse label and a
fine label (a byte each) and the red, green and blue planes of 32×32 bytes.
`cifar-100-python` holds the same in pickles, which are read without executing code.
"""

import dataclasses
import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from da_jax.data.cifar_pickle import load_pickle
from da_jax.errors import UserError

RECORD_BYTES = 2 + 3 * 32 * 32
OFFICIAL_SIZES = {"train": 50_000, "test": 10_000}
MAX_MEMBER_BYTES = 200_000_000
"""The largest official file has 155,249,918 bytes."""
MAX_TAR_BYTES = 400_000_000
"""The official archives have less than half of this when unpacked."""
MAX_MEMBERS = 100
GZIP = b"\x1f\x8b"
"""The first bytes of a gzipped file."""

BINARY_FILES = (
    "train.bin",
    "test.bin",
    "fine_label_names.txt",
    "coarse_label_names.txt",
)
PYTHON_FILES = ("train", "test", "meta")


class Records(NamedTuple):
    """Images `[N, 32, 32, 3]`, fine and coarse labels `[N]`, all uint8."""

    images: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray


@dataclasses.dataclass(frozen=True)
class Archive:
    """The two splits of an archive and the names of its classes."""

    train: Records
    test: Records
    fine_names: list[str]
    coarse_names: list[str]


def read_archive(path: Path) -> Archive:
    """Reads an official archive, the binary or the python version.

    Args:
      path: a `.tar.gz`, or a folder with its files.

    Raises:
      UserError: it doesn't exist, isn't such an archive, or is damaged.
    """
    files = _read_folder(path) if path.is_dir() else _read_tar(path)
    if all(name in files for name in BINARY_FILES):
        archive = _parse_binary(files)
    elif all(name in files for name in PYTHON_FILES):
        archive = _parse_python(files)
    else:
        raise UserError(
            f"{path} isn't a CIFAR-100 archive: it should hold"
            f" {', '.join(BINARY_FILES)} or {', '.join(PYTHON_FILES)}; found"
            f" {', '.join(sorted(files)) or 'none'}"
        )
    _check(path, archive)
    return archive


def _check(path: Path, archive: Archive) -> None:
    for split, records in (("train", archive.train), ("test", archive.test)):
        for labels, classes in ((records.fine, 100), (records.coarse, 20)):
            if labels.max(initial=0) >= classes:
                raise UserError(
                    f"{path} is damaged: label {labels.max()} of {classes} classes in"
                    f" {split}; download it again"
                )
        if len(records.images) != OFFICIAL_SIZES[split]:
            raise UserError(
                f"{path} is damaged: {len(records.images):,} {split} images instead of"
                f" {OFFICIAL_SIZES[split]:,}; download it again"
            )
    if (len(archive.fine_names), len(archive.coarse_names)) != (100, 20):
        raise UserError(f"{path} is damaged: not 100 fine and 20 coarse class names")


def _read_folder(path: Path) -> dict[str, bytes]:
    wanted = set(BINARY_FILES + PYTHON_FILES)
    candidates = [path, path / "cifar-100-binary", path / "cifar-100-python"]
    for folder in candidates:
        files = [file for file in _files(folder) if file.name in wanted]
        if files:
            return {file.name: _read_file(file) for file in files}
    return {}


def _files(folder: Path) -> list[Path]:
    return (
        [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    )


def _read_file(path: Path) -> bytes:
    if path.stat().st_size > MAX_MEMBER_BYTES:
        raise UserError(f"{path} is larger than any file of CIFAR-100")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


def _read_tar(path: Path) -> dict[str, bytes]:
    """Reads the known members of an archive, without writing them to disk."""
    if not path.exists():
        raise UserError(f"there is no archive {path}")
    try:
        with tarfile.open(fileobj=_unpacked(path), mode="r:") as tar:
            return _read_members(path, tar)
    except UserError:
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise UserError(
            f"{path} isn't a readable .tar.gz archive"
            f" ({error or type(error).__name__}); download it again"
        ) from error


def _unpacked(path: Path) -> io.BytesIO:
    """Unpacks an archive into memory, up to a maximal size."""
    with path.open("rb") as file:
        is_packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if is_packed else file
        content = stream.read(MAX_TAR_BYTES + 1)
    if len(content) > MAX_TAR_BYTES:
        raise UserError(f"{path} is larger than any archive of CIFAR-100")
    return io.BytesIO(content)


def _read_members(path: Path, tar: tarfile.TarFile) -> dict[str, bytes]:
    wanted = set(BINARY_FILES + PYTHON_FILES)
    files = {}
    for index, member in enumerate(tar):
        if index >= MAX_MEMBERS or member.size > MAX_MEMBER_BYTES:
            raise UserError(f"{path} is larger than any archive of CIFAR-100")
        name = PurePosixPath(member.name).name
        if member.isreg() and name in wanted:
            content = tar.extractfile(member)
            assert content is not None, "a regular member has content"
            files[name] = content.read()
    return files


def _parse_binary(files: Mapping[str, bytes]) -> Archive:
    return Archive(
        train=_binary_records("train.bin", files["train.bin"]),
        test=_binary_records("test.bin", files["test.bin"]),
        fine_names=_names(files["fine_label_names.txt"]),
        coarse_names=_names(files["coarse_label_names.txt"]),
    )


def _names(content: bytes) -> list[str]:
    return content.decode("ascii", errors="replace").split()


def _binary_records(name: str, content: bytes) -> Records:
    if not content or len(content) % RECORD_BYTES:
        raise UserError(
            f"{name} is damaged: {len(content):,} bytes aren't a whole number of"
            f" records of {RECORD_BYTES:,}; download the archive again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    return Records(_to_images(rows[:, 2:]), fine=rows[:, 1], coarse=rows[:, 0])


def _to_images(planes: np.ndarray) -> np.ndarray:
    """Converts planes `[N, 3072]` to images `[N, 32, 32, 3]`."""
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _parse_python(files: Mapping[str, bytes]) -> Archive:
    meta = load_pickle("meta", files["meta"])
    return Archive(
        train=_python_records("train", load_pickle("train", files["train"])),
        test=_python_records("test", load_pickle("test", files["test"])),
        fine_names=_pickled_names(meta, "fine_label_names"),
        coarse_names=_pickled_names(meta, "coarse_label_names"),
    )


def _pickled_names(meta: Mapping[str, object], key: str) -> list[str]:
    names = meta.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"meta is damaged: it has no list of {key}")
    return names


def _python_records(name: str, entries: Mapping[str, object]) -> Records:
    planes = entries.get("data")
    if (
        not isinstance(planes, np.ndarray)
        or planes.ndim != 2
        or planes.shape[1] != RECORD_BYTES - 2
    ):
        raise UserError(
            f"{name} is damaged: its data isn't an [N, 3072] array of bytes"
        )
    return Records(
        _to_images(planes),
        fine=_pickled_labels(name, entries, "fine_labels", len(planes)),
        coarse=_pickled_labels(name, entries, "coarse_labels", len(planes)),
    )


def _pickled_labels(
    name: str, entries: Mapping[str, object], key: str, count: int
) -> np.ndarray:
    labels = entries.get(key)
    if (
        not isinstance(labels, list)
        or len(labels) != count
        or not all(type(label) is int and 0 <= label < 256 for label in labels)
    ):
        raise UserError(f"{name} is damaged: its {key} aren't {count:,} labels")
    return np.array(labels, np.uint8)
