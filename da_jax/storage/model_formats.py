"""FORMATS: how the weights of a model folder can be stored.

In safetensors and PyTorch files, a bundled architecture's arrays have PyTorch's names
and layouts, so that PyTorch can load them. Those of any other network are named by the
path of the Flax variable, joined by dots.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from da_jax.storage.digests import Tree


class Format(NamedTuple):
    """A way to store weights.

    Attributes:
      file: the name of the file, or of Orbax's folder.
      write: writes variables, given the path, the architecture and them.
      read: reads variables, given the path and the architecture.
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


def this_process() -> ocp.options.MultiprocessingOptions:
    """Options under which Orbax waits for no other process."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"process_{index}",
    )


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
    from da_jax.convert.torch_file import save_state_dict

    save_state_dict(path, _named(name, variables))


def _read_torch(path: Path, name: str) -> Tree:
    from da_jax.convert import torch_file
    from da_jax.convert.checkpoint_file import open_checkpoint

    with open_checkpoint(path) as file:
        return _unnamed(name, torch_file.load_state_dict(file, str(path)))


def _named(name: str, variables: Tree) -> dict[str, np.ndarray]:
    """Names variables as PyTorch does; by their paths if there are no such names."""
    from da_jax.convert.rules import is_bundled
    from da_jax.convert.state_dict import to_numpy_state_dict

    if is_bundled(name):
        return to_numpy_state_dict(name, variables)
    leaves = flax.traverse_util.flatten_dict(variables, sep=".")
    return {path: np.asarray(leaf, order="C") for path, leaf in leaves.items()}


def _unnamed(name: str, arrays: dict[str, Any]) -> Tree:
    """Inverts `_named`."""
    from da_jax.convert.rules import is_bundled
    from da_jax.convert.state_dict import convert_state_dict

    if is_bundled(name):
        return convert_state_dict(name, arrays)
    # These files don't store an empty collection.
    return {"batch_stats": {}, **flax.traverse_util.unflatten_dict(arrays, sep=".")}


ORBAX = "orbax"
"""The format of runs and converted teachers."""

FORMATS = {
    ORBAX: Format("variables", _write_orbax, _read_orbax),
    "flax": Format("model.msgpack", _write_flax, _read_flax),
    "safetensors": Format("model.safetensors", _write_safetensors, _read_safetensors),
    "torch": Format("model.pth", _write_torch, _read_torch),
}
