"""What the parity tests share: weights by name, and the design's measure of error."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from convert import convert_state_dict, rules
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
