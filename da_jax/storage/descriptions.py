"""What folders of networks record, and files in place of them; without JAX."""

import shlex
from pathlib import Path
from typing import Any

from da_jax.errors import UserError
from da_jax.storage.files import read_json

DESCRIPTIONS = ("model.json", "config.json")
"""The description of a model folder, and that of a run folder."""

PYTORCH_SUFFIXES = {".bin", ".ckpt", ".pt", ".pth", ".safetensors"}
"""Of the files that the convert command reads."""


def read_description(folder: Path) -> dict[str, Any]:
    """Reads the description of a model or run folder; {} if there is none.

    Raises:
      UserError: it can't be read.
    """
    for name in DESCRIPTIONS:
        if (folder / name).is_file():
            description = read_json(folder / name)
            if not isinstance(description, dict):
                raise UserError(f"{folder / name} is damaged: it isn't a JSON object")
            return description
    return {}


def recorded_dataset(folder: Path) -> str:
    """Returns the data set that a folder's network was trained on; "" if unknown.

    Raises:
      UserError: the folder's description can't be read.
    """
    dataset = read_description(folder).get("dataset", "")
    return dataset if isinstance(dataset, str) else ""


def unconverted(path: Path, model: str = "") -> str | None:
    """Says what to do with a file of weights that is named instead of a folder.

    Args:
      path: the path of a model folder, as a user gives it.
      model: its architecture, if it is known.

    Returns:
      A line for the user; None if `path` isn't such a file.
    """
    if not path.is_file() or not PYTORCH_SUFFIXES.intersection(path.suffixes):
        return None
    if (path.parent / "model.json").is_file():
        return f"{path} is part of the model folder {path.parent}; name the folder"
    output = Path("checkpoints") / (model or path.name.partition(".")[0])
    return (
        f"{path} is a file of PyTorch's; convert it with `da-jax convert"
        f" --model {model or 'MODEL'} --source {shlex.quote(str(path))} --output"
        f" {shlex.quote(str(output))}` and name {output}"
    )
