"""A run's folder belongs to one config, and to one process at a time."""

import contextlib
import fcntl
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from da_jax.config.defaults import defaults, sections_in_use
from da_jax.config.record import differing_configs, differing_fields, to_record
from da_jax.errors import UserError
from da_jax.storage.files import read_json, write_json

LOCK = "lock"
"""The file of a run's folder that its process locks."""


def check_workdir(workdir: Path, own: Collection[str]) -> None:
    """Refuses a folder that holds other things than a run or a study.

    Args:
      workdir: the folder; it needn't exist.
      own: names that may be there before `config.json` is. Hidden files may be too.

    Raises:
      UserError: it holds other things, or isn't a folder.
    """
    if not workdir.exists() or (workdir / "config.json").exists():
        return
    try:
        names = sorted(path.name for path in workdir.iterdir())
    except OSError as error:
        raise UserError(
            f"--workdir {workdir} can't be written: {error.strerror}"
        ) from error
    foreign = [n for n in names if n not in own and not n.startswith(".")]
    if foreign:
        raise UserError(
            f"--workdir {workdir} has other files, such as {foreign[0]}; choose a new"
            " or an empty folder"
        )


@contextlib.contextmanager
def claimed(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Claims a folder for a config, and locks it for this process.

    Raises:
      UserError: it holds a run of another config, with the fields that differ, or
        other files; or another process has locked it.
    """
    check_workdir(workdir, {LOCK})
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / LOCK).open("a")
    except OSError as error:
        raise UserError(
            f"--workdir {workdir} can't be written: {error.strerror}"
        ) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is at the run in {workdir}; wait for its end, or"
                " choose another --workdir"
            ) from error
        write_config(workdir / "config.json", config)
        yield


def write_config(file: Path, config: ConfigDict) -> None:
    """Writes a config to a file of its folder, unless another config is there.

    Raises:
      UserError: there is, with the fields that differ.
    """
    default = defaults(config.name, config.student).to_dict()
    sections = sections_in_use(config)
    write_once(
        file,
        to_record(config.to_dict(), sections),
        lambda now, then: differing_configs(now, then, default, sections),
    )


def write_once(
    file: Path,
    content: dict[str, Any],
    differing: Callable[[dict[str, Any], dict[str, Any]], list[str]] = differing_fields,
) -> None:
    """Writes a JSON file of a run's folder, unless it has another content.

    Raises:
      UserError: it has, with the fields that differ.
    """
    if file.exists():
        fields = differing(content, read_json(file))
        if fields:
            raise UserError(
                f"{file.parent} holds a run of another config: {'; '.join(fields)};"
                " choose another --workdir"
            )
    write_json(file, content)
