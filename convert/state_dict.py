"""A PyTorch state dict as the variables of the Flax model of that name, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from convert import rules
from da_jax.errors import UserError
from da_jax.models import create_model

if TYPE_CHECKING:
    import torch


def convert_state_dict(name: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """PyTorch's state dict of model `name` as Flax variables.

    Args:
      name: a key of `da_jax.models.MODELS`.
      state_dict: PyTorch's keys to tensors or arrays. The number of classes is read
        off the classifier's bias.

    Returns:
      `{"params": …, "batch_stats": …}` of numpy arrays, in the state dict's precision.

    Raises:
      UserError: unknown model, or a state dict that doesn't fit it: the message has
        the missing, the extra and the wrongly shaped names.
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
    """Flax variables of model `name` as a PyTorch state dict of arrays.

    The inverse of `convert_state_dict`, to the bit; `num_batches_tracked` is 0.

    Args:
      name: a key of `da_jax.models.MODELS`.
      variables: `{"params": …, "batch_stats": …}`, such as
        `da_jax.storage.model_folders.load_model(directory).variables`.

    Returns:
      PyTorch's keys to arrays in its layout, in the variables' precision.

    Raises:
      UserError: unknown model, or variables that don't fit it, with their names.
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
    """`to_numpy_state_dict` as CPU tensors, for PyTorch's `load_state_dict`."""
    import torch

    arrays = to_numpy_state_dict(name, variables)
    return {key: torch.tensor(array) for key, array in arrays.items()}


def num_classes(name: str, state_dict: Mapping[str, Any]) -> int:
    """The number of classes of a state dict, from its classifier's bias; else 100.

    Raises:
      UserError: unknown model.
    """
    create_model(name)
    bias = np.asarray(state_dict.get(f"{rules.family(name).classifier}.bias", 0))
    return len(bias) if bias.ndim == 1 else 100


def _describe(
    name: str, classes: int
) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """(PyTorch's key, Flax path, PyTorch's shape) of every variable of the model."""
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
