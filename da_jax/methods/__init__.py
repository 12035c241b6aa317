"""METHODS: every distillation method by name."""

from collections.abc import Callable, Mapping
from typing import Any

from da_jax.errors import unknown_name
from da_jax.methods.interface import Method, Outputs
from da_jax.methods.kd import KD
from da_jax.methods.vanilla import Vanilla

__all__ = ["METHODS", "Method", "Outputs", "create_method"]

METHODS: dict[str, Callable[..., Method]] = {
    "KD": KD,
    "vanilla": Vanilla,
}


def create_method(name: str, settings: Mapping[str, Any]) -> Method:
    """The method `name` with the attributes in `settings`.

    Raises:
      UserError: no such method.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name](**settings)
