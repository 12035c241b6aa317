"""A stage's file: which of its tasks are done, and what they found."""

import json
from pathlib import Path
from typing import Any

from benchmarks.half_hour import archives
from benchmarks.half_hour.child import LAST_WORDS, Ended
from da_jax.errors import UserError

OUT_OF_TIME = "out of time"


class Journal:
    """Written after every task, so that the next call knows what is left."""

    def __init__(self, folder: Path, name: str, size: str) -> None:
        """Reads the file if it is there, from an earlier call.

        Args:
          folder: of the output.
          name: of the stage.
          size: of the work, `full` or `rehearsal`.

        Raises:
          UserError: the file is of the other size.
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
        """Whether all of the stage's tasks are done or have failed."""
        return bool(self._content["finished"])

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Each task's `state`, `seconds`, and what it found or why it failed."""
        return dict(self._content["tasks"])

    def is_done(self, task: str, attempts: int = 1, limit: float | None = None) -> bool:
        """Whether nothing is left to do for a task.

        Args:
          task: by name.
          attempts: after so many failures it isn't tried again.
          limit: seconds; a task that ran out of less time is tried again.
        """
        entry = self._content["tasks"].get(task)
        if entry is None or entry["state"] == "done":
            return entry is not None
        if entry["code"] == OUT_OF_TIME and limit and limit > 1.2 * entry["seconds"]:
            return False
        return bool(entry["attempts"] >= attempts)

    def done(self, task: str, found: Any, seconds: float) -> None:
        """Keeps what a task has found."""
        self._keep(task, {"state": "done", "seconds": seconds, "found": found})

    def fail(self, task: str, ended: Ended, seconds: float) -> None:
        """Keeps why a task has failed, and how often."""
        before = self._content["tasks"].get(task, {"attempts": 0})
        failed = {
            "state": "failed",
            "attempts": before["attempts"] + 1,
            "seconds": seconds,
            "code": OUT_OF_TIME if ended.returncode is None else ended.returncode,
            "said": ended.said[-LAST_WORDS:],
        }
        self._keep(task, failed)

    def finish(self) -> None:
        """Says that nothing is left to do."""
        self._content["finished"] = True
        self._write()

    def _keep(self, task: str, entry: dict[str, Any]) -> None:
        self._content["tasks"][task] = entry
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._content, indent=1) + "\n"
        archives.write(self._file, text.encode())
