"""Everything that is kept on disk of networks, and verified when it is read.

A *model folder* holds one network: `model.json` (architecture, classes, format of the
weights, where it came from), the weights (see `da_jax.storage.model_formats`) and
`sha256.json`, the sha256 of every array. Converted teachers, the best student of a
finished run and exported models are model folders. A *run folder* holds `checkpoints/`
of a training run.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from da_jax.errors import UserError, reason, unknown_name, unreadable, warn
from da_jax.storage.digests import Tree, digests, verify
from da_jax.storage.files import read_json, write_json
from da_jax.storage.model_formats import FORMATS, ORBAX
from da_jax.storage.orbax_options import this_process

RUN_CHECKPOINTS = "checkpoints"
KEPT = 2
"""How many of a run's last checkpoints stay."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A network read from disk.

    Attributes:
      name: its architecture, a key of `da_jax.models.MODELS`.
      num_classes: the width of its logits.
      variables: its `params` and `batch_stats`, numpy arrays.
    """

    name: str
    num_classes: int
    variables: Tree


def save_model(
    directory: Path, model: Model, provenance: dict[str, Any], format: str = ORBAX
) -> None:
    """Writes a model folder, whole or not at all, in place of one that is there.

    Args:
      directory: the folder to make.
      model: the network.
      provenance: what `model.json` shall say of its origin.
      format: of the weights, a key of `FORMATS`.

    Raises:
      UserError: the directory exists and is no model folder, or can't be written.
    """
    check_target(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    description = {
        **provenance,
        "model": model.name,
        "num_classes": model.num_classes,
        "format": format,
    }
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
    """Refuses a folder in whose place no model folder is to be written.

    Raises:
      UserError: it exists and is no model folder.
    """
    if directory.exists() and not (directory / "model.json").exists():
        raise UserError(f"{directory} exists and is no model folder; choose another")


def load_model(directory: Path, *, last: bool = False) -> Model:
    """Reads a model folder, or the student of a run folder (of several, the best).

    Args:
      directory: a model folder or a run folder.
      last: of a run, the student of the last epoch rather than of its best.

    Raises:
      UserError: neither is there, or it is damaged.
    """
    if (directory / RUN_CHECKPOINTS).is_dir():
        return _load_from_run(directory, last)
    if not (directory / "model.json").is_file():
        raise UserError(f"{directory} is neither a converted model nor a run")
    description = read_json(directory / "model.json")
    expected = read_json(directory / "sha256.json")
    try:
        model, num_classes = description["model"], description["num_classes"]
        format = description.get("format", ORBAX)
        if format not in FORMATS:
            raise unknown_name(f"format in {directory}/model.json", format, FORMATS)
        file, _, read = FORMATS[format]
        variables = read(directory / file, model)
    except UserError:
        raise
    except Exception as error:  # Orbax and TensorStore raise all kinds
        raise unreadable(directory, error) from error
    verify(directory, variables, expected)
    return Model(model, num_classes, variables)


def _load_from_run(directory: Path, last: bool) -> Model:
    checkpoints = RunCheckpoints(directory)
    checkpoint = checkpoints.restore()
    checkpoints.close()
    if checkpoint is None:
        raise UserError(f"the run {directory} has no checkpoint yet")
    variables = checkpoint.best[checkpoint.best_student]
    if last:
        student = checkpoint.students[checkpoint.best_student]
        variables = {name: student[name] for name in ("params", "batch_stats")}
    return Model(checkpoint.model, checkpoint.num_classes, variables)


@dataclasses.dataclass(frozen=True)
class RunCheckpoint:
    """A run after some step; one piece on disk, so that its parts always agree.

    Attributes:
      model: the student's architecture.
      num_classes: the width of its logits.
      students: each one's `TrainState` as nested dictionaries of numpy arrays.
      best: the variables of each student at its best so far.
      best_student: which of them is the best of all.
      history: what `metrics.jsonl` holds, a record an epoch.
    """

    model: str
    num_classes: int
    students: list[Tree]
    best: list[Tree]
    best_student: int
    history: list[dict[str, Any]]


class RunCheckpoints:
    """The last checkpoints of a run. Written in the background; `close` waits."""

    def __init__(self, workdir: Path) -> None:
        self._directory = workdir.absolute() / RUN_CHECKPOINTS
        self._directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, create=False, multiprocessing_options=this_process()
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, checkpoint: RunCheckpoint) -> None:
        """Keeps `checkpoint`, under the number of steps that were taken.

        Raises:
          UserError: it can't be written, or the one before couldn't.
        """
        trees = {
            "students": _numbered(checkpoint.students),
            "best": _numbered(checkpoint.best),
        }
        meta = {
            "model": checkpoint.model,
            "num_classes": checkpoint.num_classes,
            "best_student": checkpoint.best_student,
            "history": checkpoint.history,
            "sha256": digests(trees),
        }
        step = int(checkpoint.students[0]["step"])
        if step == self._manager.latest_step():
            return
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    meta=ocp.args.JsonSave(
                        {"content": meta, "sha256": _digest_of_json(meta)}
                    ),
                    **{n: ocp.args.StandardSave(tree) for n, tree in trees.items()},
                ),
            )

    def restore(self) -> RunCheckpoint | None:
        """The newest checkpoint that is whole; None if there never was one.

        Newer ones that are damaged are named in a warning.

        Raises:
          UserError: there are checkpoints, but none is whole.
        """
        damaged: list[str] = []
        for directory in self._directories():
            try:
                checkpoint = self._read(directory)
            except UserError as error:
                damaged.append(str(error))
                continue
            for message in damaged:
                warn(f"{message}; going back to {directory}")
            return checkpoint
        if damaged:
            raise UserError(
                f"no checkpoint of the run is whole: {'; '.join(damaged)};"
                " start again with another --workdir"
            )
        return None

    def clean(self, whole: RunCheckpoint | None) -> None:
        """Clears the way for new checkpoints; only for the process whose run it is.

        What is newer than the checkpoint that `restore` found whole gets another name,
        and what was only begun, by a process that was killed, is deleted.
        """
        step = int(whole.students[0]["step"]) if whole else -1
        for directory in self._directories():
            if int(directory.name) > step:
                directory.rename(directory.with_name(f"{directory.name}.damaged"))
        for directory in self._directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(directory)
        self._manager.reload()

    def _directories(self) -> list[Path]:
        """Of the checkpoints, the newest first."""
        numbered = [path for path in self._directory.iterdir() if path.name.isdigit()]
        return sorted(numbered, key=lambda path: int(path.name), reverse=True)

    def _read(self, directory: Path) -> RunCheckpoint:
        try:
            restored = self._manager.restore(
                int(directory.name),
                args=ocp.args.Composite(
                    meta=ocp.args.JsonRestore(),
                    students=ocp.args.StandardRestore(),
                    best=ocp.args.StandardRestore(),
                ),
            )
            meta = restored.meta["content"]
            if _digest_of_json(meta) != restored.meta["sha256"]:
                raise UserError(f"{directory} is damaged: its history isn't as written")
            trees = {"students": restored.students, "best": restored.best}
            verify(directory, trees, meta["sha256"])
            return RunCheckpoint(
                model=meta["model"],
                num_classes=meta["num_classes"],
                students=_listed(restored.students),
                best=_listed(restored.best),
                best_student=meta["best_student"],
                history=meta["history"],
            )
        except UserError:
            raise
        except Exception as error:  # Orbax and TensorStore raise all kinds
            raise unreadable(directory, error) from error

    def close(self) -> None:
        """Waits until everything is on disk.

        Raises:
          UserError: something can't be written.
        """
        with self._writing():
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise all kinds
            raise UserError(
                f"a checkpoint can't be written to {self._directory}: {reason(error)};"
                " those before it are as they were, and when that is mended the same"
                " command goes on from them"
            ) from error


def _numbered(trees: list[Tree]) -> Tree:
    return {str(index): tree for index, tree in enumerate(trees)}


def _listed(numbered: Tree) -> list[Tree]:
    return [numbered[str(index)] for index in range(len(numbered))]


def to_tree(state: Any) -> Tree:
    """A Flax dataclass of arrays as nested dictionaries of numpy arrays."""
    return jax.tree.map(np.asarray, flax.serialization.to_state_dict(state))


def from_tree(target: Any, tree: Tree) -> Any:
    """The inverse of `to_tree`, into the structure of `target`."""
    return flax.serialization.from_state_dict(target, tree)


def _digest_of_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
