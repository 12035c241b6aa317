"""PyTorch checkpoint files, read without running anything in them."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from da_jax.errors import UserError


def load_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The state dict in a file: plain, or under `model` as mdistiller saves it.

    Args:
      path: written by `torch.save`.

    Returns:
      PyTorch's keys to numpy arrays.

    Raises:
      UserError: PyTorch or the file is missing, damaged, or holds something else.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        import torch
    except ImportError:
        raise UserError(
            "reading PyTorch's checkpoints takes PyTorch: pip install -e '.[convert]'"
        ) from None
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{path} is no checkpoint of tensors that PyTorch can read: {reason}"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    _check_state_dict(path, content, torch.Tensor)
    return {key: tensor.detach().numpy() for key, tensor in content.items()}


def _check_state_dict(path: Path, content: Any, tensor: type) -> None:
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no state dict, but a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, tensor):
            raise UserError(
                f"{path} holds no state dict: its entry {key!r} is a"
                f" {type(value).__name__}, not a tensor"
            )


def sha256(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
