"""Disagreement Augmentation for knowledge distillation, in JAX.

- `disagreement_augment`: moves a batch to where two networks disagree, as in the paper
- `ascend`: gradient ascent with any objective, optimizer and projection
- `fgsm`, `pgd`, `noise`: baselines
- `reduce_on_plateau`: PyTorch's scheduler as an optax transformation
- `losses`: distillation losses of logits

`import da_jax` imports nothing else; the first use imports JAX, optax and jaxtyping.
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
    """Imports the library at its first use, so that commands without JAX start fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "losses":
        return importlib.import_module("da_jax.losses")
    return getattr(importlib.import_module("da_jax.ascent"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
