"""A reader of PyTorch checkpoint files that doesn't execute code."""

import hashlib
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from da_jax.errors import UserError, install_command


def open_checkpoint(path: Path) -> IO[bytes]:
    """Opens a file for reading.

    Raises:
      UserError: it doesn't exist or can't be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


def load_state_dict(file: IO[bytes], name: str) -> dict[str, np.ndarray]:
    """Reads the state dict of a file: plain, or under `model` as mdistiller saves it.

    Args:
      file: written by `torch.save`, in the current format or that before PyTorch 1.6.
      name: the file's name in messages.

    Returns:
      PyTorch's keys to numpy arrays.

    Raises:
      UserError: PyTorch isn't installed, or the file is damaged, holds no state dict,
        or holds anything besides tensors and plain values.
    """
    torch = _import_torch()
    try:
        with (
            torch.serialization.safe_globals(_numpy_scalars()),
            warnings.catch_warnings(action="ignore"),
        ):
            _check(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(
            f"{name} isn't a checkpoint of tensors that PyTorch can read: {_why(error)}"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    _check_state_dict(name, content, torch.Tensor)
    return {key: tensor.detach().numpy() for key, tensor in content.items()}


def save_state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict under `model`, as mdistiller does, for `torch.load`.

    Raises:
      UserError: PyTorch isn't installed.
    """
    torch = _import_torch()
    tensors = {key: torch.tensor(array) for key, array in arrays.items()}
    torch.save({"model": tensors}, path)


def _import_torch() -> Any:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        import torch
    except ImportError:
        raise UserError(
            f"PyTorch's checkpoints take PyTorch: {install_command('convert')}"
        ) from None
    return torch


def _check(file: IO[bytes]) -> None:
    """Checks that a file isn't damaged and claims no more content than its size.

    Rewinds the file.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._pytree import tree_leaves

    size = file.seek(0, os.SEEK_END)
    if zipfile.is_zipfile(file):  # PyTorch's current format, never compressed
        with zipfile.ZipFile(file) as members:
            _check_claim(sum(member.file_size for member in members.infolist()), size)
            if damaged := members.testzip():
                raise ValueError(f"its part {damaged} is damaged")
    file.seek(0)
    with FakeTensorMode():  # tensors without values
        content = torch.load(file, map_location="cpu", weights_only=True)
    file.seek(0)
    storages = {
        storage._cdata: storage.nbytes()
        for leaf in tree_leaves(content)
        if isinstance(leaf, torch.Tensor)
        for storage in [leaf.untyped_storage()]
    }
    _check_claim(sum(storages.values()), size)


def _check_claim(claimed: int, size: int) -> None:
    if claimed > size:
        raise ValueError(f"it has {size:,} bytes and claims to hold {claimed:,}")


def _why(error: Exception) -> str:
    """Returns PyTorch's reason, without its advice to allow code in the file."""
    message = str(error)
    if refused := re.search(r"GLOBAL (\S+)", message):
        return f"it names {refused[1]}, which is neither a tensor nor a plain value"
    if isinstance(error, pickle.UnpicklingError | OSError):
        return "it is cut off or damaged"
    return message.partition("\n")[0] or type(error).__name__


def _numpy_scalars() -> list[Any]:
    """Lists the globals of pickled NumPy scalars, such as a trainer's `accuracy`."""
    scalar = np.float64(0).__reduce__()[0]
    number_dtypes = {
        type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"
    }
    # NumPy 1's name of the module; PyTorch compares names.
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *number_dtypes]


def _check_state_dict(name: str, content: Any, tensor: type) -> None:
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{name} holds no state dict, but a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, tensor):
            raise UserError(
                f"{name} holds no state dict: its entry {key!r} is a"
                f" {type(value).__name__}, not a tensor"
            )


def sha256(file: IO[bytes]) -> str:
    """Computes the sha256 of a file."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
