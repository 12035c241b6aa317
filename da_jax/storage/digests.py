"""Checksums of trees of arrays: Orbax restores flipped bits without an error."""

import hashlib
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from da_jax.errors import UserError

Tree = dict[str, Any]
"""Nested dictionaries of arrays."""


def digests(tree: Tree) -> dict[str, str]:
    """Computes the sha256 of each leaf's dtype, shape and bytes, by its path."""
    leaves = flax.traverse_util.flatten_dict(tree, sep="/")
    return {path: _digest(np.asarray(leaf)) for path, leaf in leaves.items()}


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def verify(directory: Path, tree: Tree, expected: dict[str, str]) -> None:
    """Compares a tree that was read from `directory` with the expected checksums.

    Raises:
      UserError: a leaf is missing, unexpected, or differs.
    """
    found = digests(tree)
    differing = [path for path in expected if found.get(path) != expected[path]]
    differing += [path for path in found if path not in expected]
    if differing:
        raise UserError(
            f"{directory} is damaged: {len(differing)} of its {len(expected)} arrays"
            f" differ from what was written, {differing[0]} first"
        )
