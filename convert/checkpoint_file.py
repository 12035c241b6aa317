"""Checkpoint files of any supported format, read without executing code."""

import hashlib
from pathlib import Path
from typing import IO

import numpy as np
from da_jax.convert import safetensors_file, torch_file

from da_jax.errors import UserError


def open_checkpoint(path: Path) -> IO[bytes]:
    """Opens a file for reading.

    Raises:
      UserError: it doesn't exist or can't be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


def load_arrays(
    file: IO[bytes], name: str, entry: str | None = None
) -> dict[str, np.ndarray]:
    """Reads the state dict of a checkpoint.

    Args:
      file: in the safetensors format, or written by `torch.save`.
      name: the file's name in messages.
      entry: of PyTorch's files, see `da_jax.convert.torch_file.load_state_dict`.

    Returns:
      PyTorch's keys to numpy arrays, in the file's precision.

    Raises:
      UserError: it is damaged, holds no state dict, or holds anything besides tensors
        and plain values.
    """
    if name.endswith(".safetensors") or safetensors_file.is_safetensors(file):
        return safetensors_file.load_arrays(file, name)
    return torch_file.load_state_dict(file, name, entry)


def sha256(file: IO[bytes]) -> str:
    """Computes the sha256 of a file."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
