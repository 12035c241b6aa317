"""Data sets: `DATASETS`, their readers, preprocessing and RandAugment.

They import JAX when they are first used: commands look for missing data before.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from da_jax.data import digits as digits
    from da_jax.data.datasets import DATASETS, load_dataset
    from da_jax.data.interface import Dataset, Examples
    from da_jax.data.parts import hold_out, take_part

__all__ = ["DATASETS", "Dataset", "Examples", "hold_out", "load_dataset", "take_part"]


def __getattr__(name: str) -> Any:
    """Imports the data sets when a name of `__all__` is first used."""
    if name in __all__:
        for module in ("datasets", "interface", "parts"):
            imported = importlib.import_module(f"da_jax.data.{module}")
            if hasattr(imported, name):
                return getattr(imported, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
