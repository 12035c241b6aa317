"""A reader of PyTorch checkpoint files that doesn't execute code."""

import logging
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from da_jax.errors import (
    UserError,
    install_command,
    printable,
    reason,
    unknown_name,
)

logger = logging.getLogger(__name__)

ENTRIES = ("model", "state_dict", "model_state_dict", "net", "ema")
"""The entries of a checkpoint that may hold the state dict, the first first."""

MAX_DEPTH = 3
"""How deep such entries may be in each other."""


def load_state_dict(
    file: IO[bytes], name: str, entry: str | None = None
) -> dict[str, np.ndarray]:
    """Reads the state dict of a file: plain, or in one of `ENTRIES`.

    Args:
      file: written by `torch.save`, in the current format or that before PyTorch 1.6.
      name: the file's name in messages.
      entry: the file's entry with the state dict, by default the first of `ENTRIES`.

    Returns:
      PyTorch's keys to numpy arrays, in the file's precision.

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
    if entry is not None:
        content = _entry(name, content, entry)
    content = _innermost(name, content)
    _check_state_dict(name, content, torch.Tensor)
    return {key: _to_numpy(name, key, tensor) for key, tensor in content.items()}


def _entry(name: str, content: Any, entry: str) -> Any:
    if not isinstance(content, Mapping) or entry not in content:
        known = [str(key) for key in content] if isinstance(content, Mapping) else []
        raise unknown_name(f"entry of {name}", entry, map(printable, known))
    return content[entry]


def _innermost(name: str, content: Any) -> Any:
    """Returns the state dict in a checkpoint's entries; warns if it has several."""
    for _ in range(MAX_DEPTH):
        found = _containers(content)
        if not found:
            break
        if len(found) > 1:
            logger.warning(
                "%s has weights in %s; converting %s, --entry chooses another",
                *(name, " and ".join(found), found[0]),
            )
        content = content[found[0]]
    return content


def _containers(content: Any) -> list[str]:
    if not isinstance(content, Mapping):
        return []
    found = [name for name in ENTRIES if isinstance(content.get(name), Mapping)]
    return [name for name in found if content[name]]


def _to_numpy(name: str, key: str, tensor: Any) -> np.ndarray:
    import torch

    try:
        if tensor.dtype == torch.bfloat16:  # which NumPy lacks
            bits = tensor.detach().view(torch.int16).numpy()
            return np.asarray(bits.view(ml_dtypes.bfloat16))
        return np.asarray(tensor.detach().numpy())
    except (RuntimeError, TypeError) as error:  # of sparse or quantized tensors
        raise UserError(
            f"{name}: {printable(key)} can't be converted: {reason(error)}"
        ) from error


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
            hint = "; --entry names the one with the weights"
            raise UserError(
                f"{name} holds no state dict: its entry {printable(str(key))} is a"
                f" {type(value).__name__}, not a tensor"
                f"{hint if isinstance(value, Mapping) else ''}"
            )
