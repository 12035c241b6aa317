"""Checkpoints of a training run, verified when they are read.

A run folder holds them in `checkpoints/`, each with the sha256 of its arrays.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from da_jax.errors import UserError, reason, unreadable
from da_jax.storage.digests import Tree, digests, verify
from da_jax.storage.model_formats import this_process

RUN_CHECKPOINTS = "checkpoints"
KEPT = 2
"""How many of a run's last checkpoints are kept."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunCheckpoint:
    """A run after some step, stored as a whole so that its parts are of the same step.

    Attributes:
      model: the students' architecture.
      num_classes: the width of their logits.
      students: the `TrainState` of each, see `to_tree`.
      best: the variables of each student at its best so far; those of its average, if
        it has one.
      best_student: index of the best of them.
      history: the records of `metrics.jsonl`, one per epoch.
      imports: names of the modules that add the architecture to `MODELS`.
    """

    model: str
    num_classes: int
    students: list[Tree]
    best: list[Tree]
    best_student: int
    history: list[dict[str, Any]]
    imports: tuple[str, ...] = ()


class RunCheckpoints:
    """The last checkpoints of a run, written in the background."""

    def __init__(self, workdir: Path) -> None:
        self._directory = workdir.absolute() / RUN_CHECKPOINTS
        self._directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, create=False, multiprocessing_options=this_process()
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, checkpoint: RunCheckpoint) -> None:
        """Saves `checkpoint` under its number of steps, in the background.

        Raises:
          UserError: it or the one before can't be written.
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
        if checkpoint.imports:
            meta["imports"] = list(checkpoint.imports)
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
        """Reads the newest undamaged checkpoint; None if there is no checkpoint.

        Warns of newer ones that are damaged.

        Raises:
          UserError: all checkpoints are damaged.
        """
        damaged: list[str] = []
        for directory in self._directories():
            try:
                checkpoint = self._read(directory)
            except UserError as error:
                damaged.append(str(error))
                continue
            for message in damaged:
                logger.warning("%s; going back to %s", message, directory)
            return checkpoint
        if damaged:
            raise UserError(
                f"no checkpoint of the run is whole: {'; '.join(damaged)};"
                " start again with another --workdir"
            )
        return None

    def latest(self) -> Path | None:
        """Returns the folder of the newest checkpoint; None if there is no checkpoint.

        Waits until it is written.

        Raises:
          UserError: it can't be written.
        """
        with self._writing():
            self._manager.wait_until_finished()
        return next(iter(self._directories()), None)

    def clean(self, whole: RunCheckpoint | None) -> None:
        """Makes room for new checkpoints. Only the process that trains may call it.

        Renames damaged checkpoints and deletes those that a killed process was writing.

        Args:
          whole: the checkpoint that `restore` returned; newer ones are damaged.
        """
        step = int(whole.students[0]["step"]) if whole else -1
        for directory in self._directories():
            if int(directory.name) > step:
                directory.rename(directory.with_name(f"{directory.name}.damaged"))
        for directory in self._directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(directory)
        self._manager.reload()

    def _directories(self) -> list[Path]:
        """The checkpoints' folders, the newest first."""
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
                imports=tuple(meta.get("imports", ())),
            )
        except UserError:
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise unreadable(directory, error) from error

    def close(self) -> None:
        """Waits until all checkpoints are on disk.

        Raises:
          UserError: one can't be written.
        """
        with self._writing():
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise UserError(
                f"a checkpoint can't be written to {self._directory}: {reason(error)};"
                " earlier ones are intact; fix this and run the same command to resume"
            ) from error


def _numbered(trees: list[Tree]) -> Tree:
    return {str(index): tree for index, tree in enumerate(trees)}


def _listed(numbered: Tree) -> list[Tree]:
    return [numbered[str(index)] for index in range(len(numbered))]


class NoCheckpoints:
    """The checkpoints of processes other than the first: none."""

    def latest(self) -> None:
        """Returns None."""

    def restore(self) -> RunCheckpoint | None:
        """Returns None."""

    def clean(self, whole: RunCheckpoint | None) -> None:
        """Does nothing."""

    def save(self, checkpoint: RunCheckpoint) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def to_tree(state: Any) -> Tree:
    """Converts a Flax dataclass of arrays to nested dictionaries of numpy arrays.

    Fields that are None are left out.
    """
    tree = flax.serialization.to_state_dict(state)
    present = {name: field for name, field in tree.items() if field is not None}
    return jax.tree.map(np.asarray, present)


def from_tree(target: Any, tree: Tree) -> Any:
    """Inverts `to_tree`, into the structure of `target`.

    Fields that are None aren't stored. Metrics that an earlier version didn't have stay
    those of `target`.
    """
    fields = dict.fromkeys(flax.serialization.to_state_dict(target))
    metrics = {**to_tree(target)["metrics"], **tree["metrics"]}
    return flax.serialization.from_state_dict(
        target, fields | tree | {"metrics": metrics}
    )


def _digest_of_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
