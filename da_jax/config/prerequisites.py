"""What a run needs before it starts; this file imports no JAX."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from da_jax.data.locations import data_dir, missing_dataset
from da_jax.errors import UserError, install_command
from da_jax.storage.bundled import locate
from da_jax.storage.descriptions import unconverted

TEACHERS_PAGE = "https://github.com/megvii-research/mdistiller/releases"
RELEASED_TEACHERS = (
    "resnet56",
    "resnet110",
    "resnet32x4",
    "ResNet50",
    "wrn_40_2",
    "vgg13",
)
"""The CIFAR-100 teachers in mdistiller's `cifar_teachers.tar`."""


def missing_teacher(model: str, checkpoint: Path) -> str | None:
    """Says how to get a teacher that is missing; None if it is there."""
    if locate(checkpoint).is_dir():
        return None
    if message := unconverted(checkpoint, model):
        return message
    convert = (
        f" download cifar_teachers.tar from {TEACHERS_PAGE} and run `da-jax convert"
        f" --all --source cifar_teachers.tar --output {checkpoint.parent}`, or"
    )
    where = "" if checkpoint.is_absolute() else f" of the working folder {Path.cwd()}"
    return (
        f"the teacher {model} is not in {checkpoint}{where}:"
        f"{convert if model in RELEASED_TEACHERS else ''} train it with `da-jax train"
        f" --config=teacher:{model}` and name it with"
        f" --config.teacher.checkpoint=runs/teacher_{model}/best"
    )


def missing_start(checkpoint: str) -> str | None:
    """Says that the folder that the student starts from is missing, if it is."""
    if not checkpoint or Path(checkpoint).is_dir():
        return None
    return (
        f"config.init_checkpoint is {checkpoint!r}, which isn't a folder; give the"
        " folder of a model or of a run"
    )


def missing_matplotlib() -> str | None:
    """Says how to get matplotlib if it is missing; None if it is there."""
    if importlib.util.find_spec("matplotlib"):
        return None
    command = install_command("plots")
    return f"pictures take matplotlib, which isn't installed: {command}"


def check_prerequisites(config: Mapping[str, Any]) -> None:
    """Checks that a run's data set, teacher, first weights and libraries are there.

    Raises:
      UserError: some of them are missing; says how to get each.
    """
    missing = [missing_dataset(config["dataset"], data_dir(config["data_dir"]))]
    if config["teacher"]["model"]:
        teacher = config["teacher"]
        missing.append(missing_teacher(teacher["model"], Path(teacher["checkpoint"])))
    missing.append(missing_start(config.get("init_checkpoint", "")))
    if config["gallery_every"]:
        missing.append(missing_matplotlib())
    if any(missing):
        raise UserError("; ".join(filter(None, missing)))
