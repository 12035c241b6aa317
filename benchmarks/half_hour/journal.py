"""The file of a stage: the state and the results of its tasks."""

import json
from pathlib import Path
from typing import Any

from benchmarks.half_hour import archives
from benchmarks.half_hour.child import KEPT_OUTPUT, Ended
from da_jax.errors import UserError

OUT_OF_TIME = "out of time"


class Journal:
    """The tasks of a stage, saved after each so that the next call can resume."""

    def __init__(self, folder: Path, name: str, size: str) -> None:
        """Reads the file of an earlier call, if there is one.

        Args:
          folder: of the output.
          name: of the stage.
          size: `full` or `rehearsal`.

        Raises:
          UserError: the file has the other size.
        """
        self.name = name
        self._file = folder / f"{name}.json"
        self._content: dict[str, Any] = {
            "stage": name,
            "size": size,
            "finished": False,
            "tasks": {},
        }
        if self._file.exists():
            self._content = json.loads(self._file.read_text())
        if self._content["size"] != size:
            raise UserError(
                f"{folder} holds a {self._content['size']} call's files, and this call"
                f" is {size}; choose another --output"
            )

    @property
    def is_finished(self) -> bool:
        """Whether every task of the stage is done or has failed."""
        return bool(self._content["finished"])

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Each task's `state`, `seconds`, and its result or its error."""
        return dict(self._content["tasks"])

    def is_done(self, task: str, attempts: int = 1, limit: float | None = None) -> bool:
        """Returns whether a task needn't run (again).

        Args:
          task: its name.
          attempts: number of failures after which it isn't retried.
          limit: seconds; a task that timed out after less than this is retried.
        """
        entry = self._content["tasks"].get(task)
        if entry is None or entry["state"] == "done":
            return entry is not None
        if entry["code"] == OUT_OF_TIME and limit and limit > 1.2 * entry["seconds"]:
            return False
        return bool(entry["attempts"] >= attempts)

    def done(self, task: str, found: Any, seconds: float) -> None:
        """Saves a task's result."""
        self._keep(task, {"state": "done", "seconds": seconds, "found": found})

    def fail(self, task: str, ended: Ended, seconds: float) -> None:
        """Saves a task's failure and counts its attempts."""
        before = self._content["tasks"].get(task, {"attempts": 0})
        failed = {
            "state": "failed",
            "attempts": before["attempts"] + 1,
            "seconds": seconds,
            "code": OUT_OF_TIME if ended.returncode is None else ended.returncode,
            "said": ended.said[-KEPT_OUTPUT:],
        }
        self._keep(task, failed)

    def finish(self) -> None:
        """Marks the stage as finished."""
        self._content["finished"] = True
        self._write()

    def _keep(self, task: str, entry: dict[str, Any]) -> None:
        self._content["tasks"][task] = entry
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._content, indent=1) + "\n"
        archives.write(self._file, text.encode())
