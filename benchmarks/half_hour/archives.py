"""Portable archives of training runs, and the weights of finished runs.

An archive is a zip file of the run's config and newest checkpoint, in which equal
arrays are stored once. Large archives are split into parts.
"""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from da_jax.storage.digests import Tree, digests
from da_jax.storage.run_checkpoints import RunCheckpoint, RunCheckpoints
from da_jax.training.metrics import evaluated

PART_BYTES = 15 * 2**20
"""Maximum size of a file."""

SUFFIX = ".zip"


def write(path: Path, content: bytes) -> None:
    """Writes a file completely or not at all."""
    _begin(path, content).replace(path)


def _begin(path: Path, content: bytes) -> Path:
    """Writes the content to a temporary file beside `path`."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    return temporary


def save_run(workdir: Path, folder: Path) -> None:
    """Archives a run's newest checkpoint in `folder`; does nothing without one."""
    if not (workdir / "checkpoints").is_dir():
        return
    checkpoints = RunCheckpoints(workdir)
    checkpoint = checkpoints.restore()
    checkpoints.close()
    if checkpoint is None:
        return
    best = checkpoint.best
    if not evaluated(checkpoint.history):  # `best` is the newest students
        best = [
            {name: student[name] for name in of_student}
            for student, of_student in zip(checkpoint.students, best, strict=True)
        ]
    trees = {"students": checkpoint.students, "best": best}
    meta = {
        "config": json.loads((workdir / "config.json").read_text()),
        "model": checkpoint.model,
        "num_classes": checkpoint.num_classes,
        "best_student": checkpoint.best_student,
        "history": checkpoint.history,
        "digests": {name: [_leaves(tree) for tree in trees[name]] for name in trees},
    }
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
            out.writestr("meta.json", json.dumps(meta))
            for digest, array in _by_digest([*trees["students"], *trees["best"]]):
                out.writestr(f"{digest}.npy", _npy(array))
        write_parts(folder, f"{workdir.name}{SUFFIX}", file.getvalue())


def _leaves(tree: Tree) -> dict[str, str | None]:
    """Returns the digest of each array by path; None for an empty dictionary."""
    nodes = flax.traverse_util.flatten_dict(tree, sep="/", keep_empty_nodes=True)
    return {path: None for path in nodes} | digests(tree)


def _by_digest(trees: list[Tree]) -> list[tuple[str, np.ndarray]]:
    """Returns every distinct array with its digest."""
    arrays = {}
    for tree in trees:
        leaves = flax.traverse_util.flatten_dict(tree, sep="/")
        for path, digest in digests(tree).items():
            arrays[digest] = np.asarray(leaves[path])
    return list(arrays.items())


def _npy(array: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=False)
        return file.getvalue()


def write_parts(folder: Path, name: str, content: bytes) -> None:
    """Writes one file or several parts, and deletes other parts of an older version.

    All parts are written to temporary files before the first is renamed, so a kill
    rarely mixes old and new parts.
    """
    count = -(-len(content) // PART_BYTES)
    names = [name]
    if count > 1:
        names = [f"{name}.{index}" for index in range(count)]
    begun = [
        _begin(folder / part, content[index * PART_BYTES : (index + 1) * PART_BYTES])
        for index, part in enumerate(names)
    ]
    for part, temporary in zip(names, begun, strict=True):
        temporary.replace(folder / part)
    for old in folder.glob(f"{name}*"):
        if old.name not in names:
            old.unlink()


def parts(folder: Path, run: str) -> list[Path]:
    """Lists the files of a run's archive, in order."""
    return sorted(folder.glob(f"{run}{SUFFIX}*"))


def restore_run(folder: Path, workdir: Path) -> None:
    """Restores the run named as `workdir` there, if it has an intact archive."""
    content = b"".join(part.read_bytes() for part in parts(folder, workdir.name))
    if not content:
        return
    try:
        checkpoint, config = _read(content)
    except (zipfile.BadZipFile, KeyError, ValueError):
        return  # parts of two versions, or truncated: the run starts again
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text(json.dumps(config))
    checkpoints = RunCheckpoints(workdir)
    checkpoints.save(checkpoint)
    checkpoints.close()


def _read(content: bytes) -> tuple[RunCheckpoint, dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        meta = json.loads(archive.read("meta.json"))

        def leaf(digest: str | None) -> Any:
            if digest is None:
                return {}
            return np.load(io.BytesIO(archive.read(f"{digest}.npy")))

        def tree(paths: dict[str, str | None]) -> Tree:
            leaves = {path: leaf(digest) for path, digest in paths.items()}
            return flax.traverse_util.unflatten_dict(leaves, sep="/")

        checkpoint = RunCheckpoint(
            model=meta["model"],
            num_classes=meta["num_classes"],
            students=[tree(paths) for paths in meta["digests"]["students"]],
            best=[tree(paths) for paths in meta["digests"]["best"]],
            best_student=meta["best_student"],
            history=meta["history"],
        )
    return checkpoint, meta["config"]


def add_weights(file: Path, name: str, content: bytes) -> None:
    """Adds or replaces a finished run's weights in a zip file.

    Large weights are written beside it, to `NAME.safetensors.0` and so on.
    """
    if len(content) > PART_BYTES:
        write_parts(file.parent, f"{name}.safetensors", content)
        return
    weights = {}
    if file.exists():
        with zipfile.ZipFile(file) as archive:
            weights = {member: archive.read(member) for member in archive.namelist()}
    weights[f"{name}.safetensors"] = content
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in sorted(weights):
                archive.writestr(zipfile.ZipInfo(member), weights[member])
        write(file, buffer.getvalue())


def clean(folder: Path) -> None:
    """Deletes the temporary files of a killed process."""
    for temporary in folder.glob(".*.tmp"):
        os.unlink(temporary)
