"""Whether the process that runs a trial is alive: by a lock, or by its heartbeats."""

import contextlib
import fcntl
import threading
import time
from pathlib import Path
from typing import IO, Protocol

import optuna
from optuna.trial import FrozenTrial

PROCESS = "process"
"""A trial's attribute: the name of the process that runs it."""
BEATS = "beats"
"""A trial's attribute: how many heartbeats its process has sent."""

INTERVAL, GRACE = 15.0, 120.0
"""Seconds between heartbeats, and without any after which a process counts as gone."""


class Liveness(Protocol):
    """Tells other processes that this one is alive, and whether they are."""

    def watch(self, trial: optuna.Trial) -> None:
        """Starts to tell that a trial of this process is being run."""

    def forget(self, trial: optuna.Trial) -> None:
        """Ends this."""

    def is_alive(self, trial: FrozenTrial) -> bool | None:
        """Returns whether another process's trial is being run; None if unknown yet."""

    def doubt(self) -> None:
        """Makes other processes count as unknown until their next sign of life."""

    def close(self) -> None:
        """Leaves; what is still watched counts as ended, at once or after a while."""


class Locks:
    """For processes that share a folder: each holds a lock on its own file.

    The system releases it, so a process that is killed counts as gone at once.
    """

    def __init__(self, folder: Path, process: str) -> None:
        """Creates this process's file, and locks it.

        Raises:
          OSError: the folder can't be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process = process
        self._own = self._lock(process)

    def watch(self, trial: optuna.Trial) -> None:
        """Does nothing: the lock is for all trials of the process."""

    def forget(self, trial: optuna.Trial) -> None:
        """Does nothing."""

    def is_alive(self, trial: FrozenTrial) -> bool | None:
        """Tries to lock the file of the trial's process."""
        try:
            lock = self._lock(str(trial.user_attrs.get(PROCESS)))
        except BlockingIOError:
            return True
        lock.close()
        return False

    def doubt(self) -> None:
        """Does nothing: locks tell at any moment."""

    def _lock(self, process: str) -> IO[str]:
        """Locks a process's file until it is closed."""
        file = (self._folder / process).open("a")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def close(self) -> None:
        """Releases the lock, and removes the file."""
        self._own.close()
        with contextlib.suppress(OSError):
            (self._folder / self._process).unlink()


class Heartbeats:
    """For processes that share the study only: each counts up in its trials.

    Observers measure by their own clocks for how long a count has stood still, so the
    clocks of different machines needn't agree.
    """

    def __init__(self, interval: float = INTERVAL, grace: float = GRACE) -> None:
        """Starts the thread that sends heartbeats.

        Args:
          interval: seconds between heartbeats.
          grace: seconds without any after which a process counts as gone.
        """
        self._interval = interval
        self._grace = grace
        self._watched: dict[int, optuna.Trial] = {}
        self._seen: dict[int, tuple[int, float]] = {}
        self._alive: set[int] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        beats = 0
        while not self._closed.wait(self._interval):
            beats += 1
            for trial in list(self._watched.values()):
                # The trial has just ended, or the storage is away: the next one tells.
                with contextlib.suppress(Exception):
                    trial.set_user_attr(BEATS, beats)

    def watch(self, trial: optuna.Trial) -> None:
        """Sends heartbeats for a trial."""
        self._watched[trial.number] = trial

    def forget(self, trial: optuna.Trial) -> None:
        """Sends no more of them."""
        self._watched.pop(trial.number, None)

    def is_alive(self, trial: FrozenTrial) -> bool | None:
        """Compares the trial's heartbeats with those of earlier calls."""
        beats, now = trial.user_attrs.get(BEATS, 0), time.monotonic()
        last, since = self._seen.setdefault(trial.number, (beats, now))
        if beats != last:
            self._seen[trial.number] = beats, now
            self._alive.add(trial.number)
        elif now - since > self._grace:
            return False
        return True if trial.number in self._alive else None

    def doubt(self) -> None:
        """Forgets which trials had heartbeats."""
        self._alive.clear()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._thread.join(self._interval)
