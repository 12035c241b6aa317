"""Conversion between PyTorch's state dicts and Flax variables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from da_jax.convert import rules

from da_jax.errors import UserError
from da_jax.models import create_model

if TYPE_CHECKING:
    import torch


def convert_state_dict(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Converts PyTorch's state dict of model `name` to Flax variables.

    Args:
      name: a key of `da_jax.models.MODELS`.
      state_dict: PyTorch's keys to tensors or arrays. The classifier's bias gives the
        number of classes.

    Returns:
      `{"params": …, "batch_stats": …}` of numpy arrays, in the state dict's precision.

    Raises:
      UserError: the model is unknown, or the state dict doesn't fit it; names missing,
        extra and wrongly shaped entries.
    """
    arrays = {
        key: np.asarray(value)
        for key, value in state_dict.items()
        if key.rpartition(".")[2] != rules.COUNTER
    }
    model = _describe(name, num_classes(name, arrays))
    _check_fit(name, arrays, {key: shape for key, _, shape in model})
    variables = {
        path: rules.flax_layout(path[-1], arrays[key]) for key, path, _ in model
    }
    return flax.traverse_util.unflatten_dict(variables)


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
    model = _describe(name, num_classes(name, arrays))
    _check_fit(name, arrays, {key: shape for key, _, shape in model})
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
    bias = np.asarray(state_dict.get(f"{rules.family(name).classifier}.bias", 0))
    return len(bias) if bias.ndim == 1 else 100


def _describe(
    name: str, classes: int
) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Lists (PyTorch's key, Flax path, PyTorch's shape) of the model's variables."""
    model = create_model(name, classes)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    description = []
    for path, leaf in flax.traverse_util.flatten_dict(variables).items():
        shape = rules.torch_shape(path[-1], leaf.shape)
        description.append((rules.torch_key(name, path[1:]), path, shape))
    return description


def _check_fit(
    name: str,
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    problems = []
    if missing := sorted(expected.keys() - arrays.keys()):
        problems.append(f"missing: {', '.join(missing)}")
    if extra := sorted(arrays.keys() - expected.keys()):
        problems.append(f"extra: {', '.join(extra)}")
    wrong = [
        f"{key} {list(arrays[key].shape)} instead of {list(shape)}"
        for key, shape in sorted(expected.items())
        if key in arrays and arrays[key].shape != shape
    ]
    if wrong:
        problems.append(f"wrongly shaped: {', '.join(wrong)}")
    if problems:
        raise UserError(f"the state dict doesn't fit {name}: {'; '.join(problems)}")
