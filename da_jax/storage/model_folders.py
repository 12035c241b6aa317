"""Model folders: a network on disk, verified when it is read.

A model folder holds `model.json` (architecture, number of classes, format of the
weights, the modules to import, provenance), the weights (see
`da_jax.storage.model_formats`) and `sha256.json`, the sha256 of every array. Converted
teachers, the best student of a finished run and exported models are model folders.
"""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from da_jax.errors import UserError, unknown_name, unreadable
from da_jax.imports import import_modules
from da_jax.models import is_model
from da_jax.storage.bundled import locate
from da_jax.storage.descriptions import read_description, unconverted
from da_jax.storage.digests import Tree, digests, verify
from da_jax.storage.files import read_json, write_json
from da_jax.storage.model_formats import FORMATS, ORBAX
from da_jax.storage.run_checkpoints import RUN_CHECKPOINTS, RunCheckpoints


@dataclasses.dataclass(frozen=True)
class Model:
    """A network read from disk.

    Attributes:
      name: its architecture, as `da_jax.models.create_model` knows it.
      num_classes: the width of its logits.
      variables: its `params` and `batch_stats`, numpy arrays.
      imports: names of the modules that add the architecture to `MODELS`.
    """

    name: str
    num_classes: int
    variables: Tree
    imports: tuple[str, ...] = ()


def save_model(
    directory: Path, model: Model, provenance: dict[str, Any], format: str = ORBAX
) -> None:
    """Writes a model folder, completely or not at all; replaces one that exists.

    Args:
      directory: the folder to write.
      model: the network.
      provenance: further entries of `model.json`, on the network's origin.
      format: of the weights, a key of `FORMATS`.

    Raises:
      UserError: the directory exists and isn't a model folder, or can't be written.
    """
    check_target(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    description = {
        **provenance,
        "model": model.name,
        "num_classes": model.num_classes,
        "format": format,
    }
    if model.imports:
        description["imports"] = list(model.imports)
    try:
        temporary.mkdir(parents=True)
        file, write, _ = FORMATS[format]
        write(temporary / file, model.name, model.variables)
        write_json(temporary / "sha256.json", digests(model.variables))
        write_json(temporary / "model.json", description)
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
    except OSError as error:
        raise UserError(f"{directory} can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_target(directory: Path) -> None:
    """Checks that a model folder may be written to `directory`.

    Raises:
      UserError: it exists and isn't a model folder.
    """
    if directory.exists() and not (directory / "model.json").exists():
        raise UserError(f"{directory} exists and isn't a model folder; choose another")


def load_model(directory: Path, *, last: bool = False) -> Model:
    """Reads a model folder, or the best student of a run folder.

    Imports the modules that the folder names.

    Args:
      directory: a model folder or a run folder.
      last: of a run, the student after the last epoch instead of at its best. Of a run
        that averages its student, both are the average, which was evaluated.

    Raises:
      UserError: there is neither, it is damaged, or a module can't be imported.
    """
    directory = locate(directory)
    if (directory / RUN_CHECKPOINTS).is_dir():
        return _load_from_run(directory, last)
    if not (directory / "model.json").is_file():
        other = f"{directory} is neither a converted model nor a run"
        raise UserError(unconverted(directory) or other)
    description = read_description(directory)
    expected = read_json(directory / "sha256.json")
    try:
        imports = tuple(description.get("imports", ()))
        model, num_classes = description["model"], description["num_classes"]
        _import(directory, model, imports)
        format = description.get("format", ORBAX)
        if format not in FORMATS:
            raise unknown_name(f"format in {directory}/model.json", format, FORMATS)
        file, _, read = FORMATS[format]
        variables = read(directory / file, model)
    except UserError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise unreadable(directory, error) from error
    verify(directory, variables, expected)
    return Model(model, num_classes, variables, imports)


def _load_from_run(directory: Path, last: bool) -> Model:
    checkpoints = RunCheckpoints(directory)
    checkpoint = checkpoints.restore()
    checkpoints.close()
    if checkpoint is None:
        raise UserError(f"the run {directory} has no checkpoint yet")
    _import(directory, checkpoint.model, checkpoint.imports)
    variables = checkpoint.best[checkpoint.best_student]
    if last:
        student = checkpoint.students[checkpoint.best_student]
        average = student.get("ema")
        variables = average or {
            name: student[name] for name in ("params", "batch_stats")
        }
    return Model(
        checkpoint.model, checkpoint.num_classes, variables, checkpoint.imports
    )


def import_recorded(directory: Path, model: str) -> None:
    """Imports the modules that a model folder or a run folder names, if it exists.

    Args:
      directory: the folder.
      model: its architecture.

    Raises:
      UserError: its description can't be read, or a module that an architecture which
        isn't bundled may need can't be imported.
    """
    directory = locate(directory)
    imports = tuple(read_description(directory).get("imports", ()))
    _import(directory, model, imports)


def _import(directory: Path, model: str, imports: tuple[str, ...]) -> None:
    """Imports the modules of a folder; a bundled architecture does without them."""
    try:
        import_modules(imports)
    except UserError as error:
        if is_model(model):
            return
        raise UserError(
            f"{directory} is saved with imports {list(imports)}, of which {error}"
        ) from error
