"""A PyTorch state dict as the variables of the Flax model of that name."""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from convert import rules
from da_jax.errors import UserError
from da_jax.models import create_model

CLASSIFIER_BIASES = ("fc.bias", "classifier.bias", "linear.bias")


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
        if not rules.IGNORED.fullmatch(key)
    }
    paths = _flax_paths(name, num_classes(arrays))
    _check_fit(name, arrays, {key: shape for key, _, shape in paths})
    variables = {
        path: np.ascontiguousarray(rules.flax_layout(path[-1], arrays[key]))
        for key, path, _ in paths
    }
    return flax.traverse_util.unflatten_dict(variables)


def num_classes(state_dict: Mapping[str, Any]) -> int:
    """The number of classes of a state dict, from its classifier's bias; else 100."""
    for key in CLASSIFIER_BIASES:
        if key in state_dict and np.ndim(state_dict[key]) == 1:
            return int(np.shape(state_dict[key])[0])
    return 100


def _flax_paths(
    name: str, classes: int
) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """(PyTorch's key, Flax path, PyTorch's shape) of every variable of the model."""
    model = create_model(name, classes)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    paths = []
    for path, leaf in flax.traverse_util.flatten_dict(variables).items():
        shape = rules.torch_shape(path[-1], leaf.shape)
        paths.append((rules.torch_key(name, path[1:]), path, shape))
    return paths


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
