"""Comparison of a state dict with what the bundled architectures have."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from da_jax.convert import rules

from da_jax.errors import printable
from da_jax.models import MODELS, create_model

NUM_NAMES = 5
"""How many names of a kind a message has at most."""

NUM_CLASSES = 100
"""The number of classes where nothing says another."""


class Entry(NamedTuple):
    """A variable in PyTorch's terms and in Flax's.

    Attributes:
      key: PyTorch's key.
      path: Flax's path, with the collection.
      shape: in PyTorch's layout.
    """

    key: str
    path: tuple[str, ...]
    shape: tuple[int, ...]


def entries(name: str, num_classes: int) -> list[Entry]:
    """Lists the variables of a bundled architecture.

    Raises:
      UserError: the model is unknown.
    """
    classifier = rules.family(name).classifier
    return [
        entry._replace(shape=(num_classes, *entry.shape[1:]))
        if entry.key.rpartition(".")[0] == classifier
        else entry
        for entry in _entries(name)
    ]


@functools.cache
def _entries(name: str) -> tuple[Entry, ...]:
    model = create_model(name, NUM_CLASSES)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return tuple(
        Entry(
            rules.torch_key(name, path[1:]),
            path,
            rules.torch_shape(path[-1], leaf.shape),
        )
        for path, leaf in flax.traverse_util.flatten_dict(variables).items()
    )


def num_classes(name: str, state_dict: Mapping[str, Any]) -> int | None:
    """Returns the number of classes of a state dict; None if it has no classifier."""
    bias = np.asarray(state_dict.get(f"{rules.family(name).classifier}.bias", 0))
    return len(bias) if bias.ndim == 1 else None


def differences(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Describes how arrays differ from an architecture's; "" if they fit it.

    Args:
      name: a bundled architecture.
      arrays: by PyTorch's keys.
    """
    classes = num_classes(name, arrays) or NUM_CLASSES
    shapes = {entry.key: entry.shape for entry in entries(name, classes)}
    present = {key: arrays[key] for key in shapes if key in arrays}
    kinds = {
        "missing": (printable(key) for key in shapes if key not in arrays),
        "extra": (printable(key) for key in arrays if key not in shapes),
        "wrongly shaped": (
            f"{key} {list(array.shape)} instead of {list(shapes[key])}"
            for key, array in present.items()
            if array.shape != shapes[key]
        ),
        "not of floating point": (
            f"{key} ({array.dtype})"
            for key, array in present.items()
            if not jnp.issubdtype(array.dtype, jnp.floating)
        ),
    }
    described = [_described(kind, names) for kind, names in kinds.items()]
    return "; ".join(filter(None, described))


def _described(kind: str, names: Iterable[str]) -> str:
    """Returns such as `7 missing: a, b, c, d, e, …`; "" for no names."""
    ordered = sorted(names)
    more = ", …" if len(ordered) > NUM_NAMES else ""
    listed = ", ".join(ordered[:NUM_NAMES])
    return f"{len(ordered)} {kind}: {listed}{more}" if ordered else ""


def fitting(arrays: Mapping[str, np.ndarray]) -> list[tuple[str, int]]:
    """Returns the bundled architectures that arrays fit, and the number of classes.

    Args:
      arrays: by PyTorch's keys.
    """
    found = []
    for name in rules.BUNDLED:
        classes = num_classes(name, arrays)
        if name in MODELS and classes and not differences(name, arrays):
            found.append((name, classes))
    return found
