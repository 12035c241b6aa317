"""Stand-ins for clu and ml_collections on machines without them.

They implement the parts that training uses: an average, and a config whose fields are
attributes. Installed libraries aren't replaced.
"""

import copy
import importlib
import sys
import types
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Average:
    """`clu.metrics.Average`."""

    total: jax.Array
    count: jax.Array

    @classmethod
    def from_model_output(cls, values: jax.Array, mask: jax.Array) -> "Average":
        """Averages the values where `mask` is true."""
        ones = jnp.ones_like(values, dtype=jnp.int32)
        return cls(
            total=jnp.where(mask, values, jnp.zeros_like(values)).sum(),
            count=jnp.where(mask, ones, jnp.zeros_like(ones)).sum(),
        )

    def compute(self) -> jax.Array:
        """Returns the average."""
        return self.total / self.count


class ConfigDict(dict[str, Any]):
    """`ml_collections.ConfigDict`: a dictionary with its entries as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, other: dict[str, Any]) -> None:  # type: ignore[override]
        """Sets entries, recursively in nested dictionaries."""
        for name, value in other.items():
            if isinstance(value, dict):
                self.setdefault(name, ConfigDict()).update(value)
            else:
                self[name] = value

    def to_dict(self) -> dict[str, Any]:
        """Returns plain nested dictionaries."""
        return {
            name: value.to_dict() if isinstance(value, ConfigDict) else value
            for name, value in self.items()
        }

    def copy_and_resolve_references(self) -> "ConfigDict":
        """Returns a deep copy."""
        return copy.deepcopy(self)


def install() -> list[str]:
    """Installs stand-ins for missing libraries and returns the libraries' names."""
    missing = [name for name in ("clu", "ml_collections") if _is_missing(name)]
    if "clu" in missing:
        metrics = _module("clu.metrics", Average=Average)
        _module("clu", metrics=metrics)
    if "ml_collections" in missing:
        _module("ml_collections", ConfigDict=ConfigDict)
    return missing


def _is_missing(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return True
    return False


def _module(name: str, **content: Any) -> types.ModuleType:
    module = types.ModuleType(name, __doc__)
    vars(module).update(content)
    sys.modules[name] = module
    return module
