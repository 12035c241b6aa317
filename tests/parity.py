"""What the parity tests share: weights by name, and the design's measure of error."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from da_jax.convert import convert_state_dict, rules

from tests import golden
from tests.golden import weights


def variables(name: str, seed: int, dtype: Any) -> dict[str, Any]:
    """The golden vectors' weights of an architecture, as Flax variables."""
    description, _ = golden.load("models")
    state_dict = weights.state_dict(description[name]["shapes"], seed)
    converted = convert_state_dict(name, state_dict)
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), converted)


def by_torch_key(name: str, tree: dict[str, Any]) -> dict[str, np.ndarray]:
    """The leaves of a Flax tree by PyTorch's key."""
    leaves = flax.traverse_util.flatten_dict(tree)
    return {rules.torch_key(name, path[1:]): leaf for path, leaf in leaves.items()}


def relative_error(found: Any, expected: np.ndarray) -> float:
    """max|a − b| / max|b|."""
    difference = np.abs(np.asarray(found, np.float64) - expected)
    return float(np.max(difference) / np.max(np.abs(expected)))


def torch_resnet(name: str, state_dict: dict[str, Any]) -> Any:
    """The benchmarks' PyTorch network with mdistiller's weights, in eval mode.

    Its layers are called otherwise, but come in the same order.
    """
    torch = pytest.importorskip("torch")
    from benchmarks import eager_torch

    model = eager_torch.resnet(name, len(state_dict["fc.bias"]))
    arrays = {key: np.array(array) for key, array in state_dict.items()}
    dtype = arrays["fc.bias"].dtype
    named = zip(model.state_dict(), arrays.values(), strict=True)
    model.to(torch.from_numpy(np.zeros((), dtype)).dtype)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in named})
    return model.eval().requires_grad_(False)
