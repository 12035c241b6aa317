"""Conversion between PyTorch's state dicts and Flax variables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.traverse_util
import jax
import numpy as np
from da_jax.convert import fit, rules

from da_jax.errors import UserError
from da_jax.models import create_model

if TYPE_CHECKING:
    import torch


def convert_state_dict(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Converts PyTorch's state dict of model `name` to Flax variables.

    Args:
      name: a key of `da_jax.models.MODELS`.
      state_dict: PyTorch's keys to tensors or arrays, also with the prefixes of
        wrappers (see `rules.plain_names`). The classifier's bias gives the number of
        classes.

    Returns:
      `{"params": …, "batch_stats": …}` of numpy arrays, in the state dict's precision.

    Raises:
      UserError: the model is unknown, or the state dict doesn't fit it; names the
        first missing, extra and wrongly shaped entries, and the architectures that it
        fits.
    """
    create_model(name)  # raises if it is unknown
    arrays = {
        key: np.asarray(value)
        for key, value in rules.plain_names(state_dict).items()
        if key.rpartition(".")[2] not in rules.COUNTERS
    }
    if different := fit.differences(name, arrays):
        raise UserError(
            f"the state dict doesn't fit {name}: {different}; {_instead(arrays)}"
        )
    variables = {
        path: rules.flax_layout(path[-1], arrays[key])
        for key, path, _ in fit.entries(name, num_classes(name, arrays))
    }
    return flax.traverse_util.unflatten_dict(variables)


def _instead(arrays: Mapping[str, np.ndarray]) -> str:
    fitting = [f"{name} of {count} classes" for name, count in fit.fitting(arrays)]
    return f"it fits {' and '.join(fitting) or 'none of the bundled architectures'}"


def to_numpy_state_dict(
    name: str, variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Converts Flax variables of model `name` to a PyTorch state dict of arrays.

    Inverts `convert_state_dict` exactly; `num_batches_tracked` is 0.

    Args:
      name: a key of `da_jax.models.MODELS`.
      variables: `{"params": …, "batch_stats": …}`, such as
        `da_jax.storage.model_folders.load_model(directory).variables`.

    Returns:
      PyTorch's keys to arrays in its layout, in the variables' precision.

    Raises:
      UserError: the model is unknown, or the variables don't fit it; names them.
    """
    arrays = {}
    for path, leaf in flax.traverse_util.flatten_dict(dict(variables)).items():
        key = rules.torch_key(name, path[1:])
        arrays[key] = rules.torch_layout(path[-1], np.asarray(leaf))
    if different := fit.differences(name, arrays):
        raise UserError(f"the variables don't fit {name}: {different}")
    counted = {}
    for key, array in arrays.items():
        counted[key] = array
        module, _, leaf = key.rpartition(".")
        if leaf == rules.LEAVES["var"]:
            counted[f"{module}.{rules.COUNTER}"] = np.array(0)
    return counted


def to_torch_state_dict(
    name: str, variables: Mapping[str, Any]
) -> dict[str, "torch.Tensor"]:
    """Converts Flax variables to CPU tensors for PyTorch's `load_state_dict`."""
    import torch

    arrays = to_numpy_state_dict(name, variables)
    return {key: torch.tensor(array) for key, array in arrays.items()}


def num_classes(name: str, state_dict: Mapping[str, Any]) -> int:
    """Returns the number of classes of a state dict; 100 if it has no classifier.

    Raises:
      UserError: the model is unknown.
    """
    create_model(name)
    return fit.num_classes(name, rules.plain_names(state_dict)) or fit.NUM_CLASSES


def to_float32(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Converts floats of 16 bits to float32, which has all their values."""

    def widened(leaf: np.ndarray) -> np.ndarray:
        return leaf.astype(np.float32) if leaf.dtype.itemsize < 4 else leaf

    return jax.tree.map(widened, dict(variables))
