"""FORMATS: how the weights of a model folder can be stored.

A bundled architecture's arrays have PyTorch's names and layouts in safetensors and
PyTorch files, so that PyTorch loads them as they are; any other network's have the path
of the Flax variable, its parts joined by dots.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import flax.traverse_util
import numpy as np
import orbax.checkpoint as ocp

from da_jax.storage.digests import Tree
from da_jax.storage.orbax_options import this_process


class Format(NamedTuple):
    """How weights are stored.

    Attributes:
      file: the name of the file, or of Orbax's folder.
      write: from path, architecture and variables.
      read: from path and architecture to variables.
    """

    file: str
    write: Callable[[Path, str, Tree], None]
    read: Callable[[Path, str], Tree]


def _write_orbax(path: Path, name: str, variables: Tree) -> None:
    with _checkpointer() as checkpointer:
        checkpointer.save(path.absolute(), variables)


def _read_orbax(path: Path, name: str) -> Tree:
    with _checkpointer() as checkpointer:
        variables: Tree = checkpointer.restore(path.absolute())
    return variables


def _checkpointer() -> ocp.StandardCheckpointer:
    return ocp.StandardCheckpointer(multiprocessing_options=this_process())


def _write_flax(path: Path, name: str, variables: Tree) -> None:
    path.write_bytes(flax.serialization.msgpack_serialize(variables))


def _read_flax(path: Path, name: str) -> Tree:
    variables: Tree = flax.serialization.msgpack_restore(path.read_bytes())
    return variables


def _write_safetensors(path: Path, name: str, variables: Tree) -> None:
    import safetensors.numpy

    path.write_bytes(safetensors.numpy.save(_named(name, variables)))


def _read_safetensors(path: Path, name: str) -> Tree:
    import safetensors.numpy

    return _unnamed(name, safetensors.numpy.load_file(path))


def _write_torch(path: Path, name: str, variables: Tree) -> None:
    from convert.torch_file import save_state_dict

    save_state_dict(path, _named(name, variables))


def _read_torch(path: Path, name: str) -> Tree:
    from convert import torch_file

    with torch_file.open_checkpoint(path) as file:
        return _unnamed(name, torch_file.load_state_dict(file, str(path)))


def _named(name: str, variables: Tree) -> dict[str, np.ndarray]:
    """Variables by PyTorch's names, or by their own where there are no such."""
    from convert.rules import is_bundled
    from convert.state_dict import to_numpy_state_dict

    if is_bundled(name):
        return to_numpy_state_dict(name, variables)
    leaves = flax.traverse_util.flatten_dict(variables, sep=".")
    return {path: np.asarray(leaf, order="C") for path, leaf in leaves.items()}


def _unnamed(name: str, arrays: dict[str, Any]) -> Tree:
    """The inverse of `_named`."""
    from convert.rules import is_bundled
    from convert.state_dict import convert_state_dict

    if is_bundled(name):
        return convert_state_dict(name, arrays)
    # A file has no place for a collection that is empty.
    return {"batch_stats": {}, **flax.traverse_util.unflatten_dict(arrays, sep=".")}


ORBAX = "orbax"
"""The format of runs and converted teachers."""

FORMATS = {
    ORBAX: Format("variables", _write_orbax, _read_orbax),
    "flax": Format("model.msgpack", _write_flax, _read_flax),
    "safetensors": Format("model.safetensors", _write_safetensors, _read_safetensors),
    "torch": Format("model.pth", _write_torch, _read_torch),
}
