"""Model folders that the package includes."""

import importlib.resources
from pathlib import Path

BUNDLED = (Path("checkpoints/digits_resnet20"),)
"""Their names: in a clone of the repository, they are folders."""


def locate(directory: Path) -> Path:
    """Returns a model folder, or the bundled one of that name if it doesn't exist.

    Args:
      directory: relative to the working directory, or absolute.
    """
    if directory in BUNDLED and not directory.exists():
        folder = importlib.resources.files("da_jax.checkpoints")
        return Path(str(folder / directory.name))
    return directory
