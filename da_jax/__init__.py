"""Disagreement Augmentation for knowledge distillation, in JAX.

- `disagreement_augment`: the paper, a batch moved to where two networks disagree
- `ascend`: the gradient ascent it is made of, for any objective, optimizer, projection
- `fgsm`, `pgd`, `noise`: what it is compared with
- `reduce_on_plateau`: PyTorch's scheduler as an optax transformation
- `losses`: distillation losses of logits

They import JAX, optax and jaxtyping when they are first used, and nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from da_jax import losses
    from da_jax.ascent import (
        Ascended,
        ascend,
        disagreement_augment,
        fgsm,
        noise,
        pgd,
        reduce_on_plateau,
    )

__version__ = "0.1.0"

__all__ = [
    "Ascended",
    "ascend",
    "disagreement_augment",
    "fgsm",
    "losses",
    "noise",
    "pgd",
    "reduce_on_plateau",
]


def __getattr__(name: str) -> Any:
    """Imports the library at its first use: commands without JAX start fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "losses":
        return importlib.import_module("da_jax.losses")
    return getattr(importlib.import_module("da_jax.ascent"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
