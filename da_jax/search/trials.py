"""Trials shared by several processes.

The Optuna study is in SQLite. A process holds a lock on its own file while it lives;
if it ends before its trial does, the trial is rerun with the same values.
"""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import optuna
from optuna.trial import TrialState

from da_jax.errors import UserError
from da_jax.search.space import Space

STUDY = "da_jax"
FILE = "study.db"
LOCK = "lock"
PROCESSES = "processes"
FILES = (FILE, f"{FILE}-journal", LOCK, PROCESSES)
"""What is in the folder of a study; SQLite has the journal while it writes."""
PROCESS = "process"
"""A trial's attribute: the name of the process that runs it."""
JOINED = "joined"
"""A study's attribute: how many processes have joined it."""
SEEN = (TrialState.COMPLETE, TrialState.PRUNED)

PRUNERS = ("hyperband", "none")


class Trials:
    """One process's access to a study."""

    def __init__(self, folder: Path, space: Space, pruner: str, epochs: int) -> None:
        """Creates the study, or joins it.

        Args:
          folder: of the study and the locks; created if it doesn't exist.
          space: the search space.
          pruner: one of `PRUNERS`.
          epochs: of a complete trial.

        Raises:
          UserError: the folder can't be written.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder = folder
        self._space = space
        self._process = uuid.uuid4().hex
        try:
            (folder / PROCESSES).mkdir(parents=True, exist_ok=True)
            self._alive = self._lock(self._process)
        except OSError as error:
            raise UserError(f"{folder} can't be written: {error.strerror}") from error
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{folder / FILE}", {"connect_args": {"timeout": 60}}
        )
        with self._one_at_a_time():
            self.study = optuna.create_study(
                storage=storage,
                study_name=STUDY,
                direction="maximize",
                load_if_exists=True,
            )
            # Samplers with the same seed would propose the same values.
            joined = self.study.user_attrs.get(JOINED, 0)
            self.study.set_user_attr(JOINED, joined + 1)
            self.study.sampler = optuna.samplers.TPESampler(
                seed=joined, multivariate=True, constant_liar=True
            )
        if pruner == "none":
            self.study.pruner = optuna.pruners.NopPruner()
        else:
            self.study.pruner = optuna.pruners.HyperbandPruner(1, epochs)

    def next(self, total: int) -> optuna.Trial | None:
        """Returns a trial to run, or None if the study has `total` already."""
        with self._one_at_a_time():
            self._hand_in_what_is_left()
            states = [trial.state for trial in self.study.get_trials(deepcopy=False)]
            started = (*SEEN, TrialState.RUNNING)
            if sum(state in started for state in states) >= total:
                return None
            trial = self.study.ask(self._space)
            trial.set_user_attr(PROCESS, self._process)
            return trial

    def hand_in(self, trial: optuna.Trial) -> None:
        """Leaves an unfinished trial to another process, or to the next start."""
        with self._one_at_a_time():
            self._give_up(self.study.trials[trial.number])

    def _hand_in_what_is_left(self) -> None:
        """Returns the trials of processes that have ended."""
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            process = trial.user_attrs.get(PROCESS)
            if process == self._process:
                continue
            try:
                lock = self._lock(str(process))
            except BlockingIOError:
                continue  # it is alive
            lock.close()
            self._give_up(trial)

    def _give_up(self, trial: optuna.trial.FrozenTrial) -> None:
        self.study.tell(trial.number, state=TrialState.FAIL)
        self.study.enqueue_trial(trial.params, {"again": trial.number})

    def _lock(self, process: str) -> IO[str]:
        """Locks a process's file until it is closed."""
        file = (self._folder / PROCESSES / process).open("a")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with (self._folder / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Leaves the study."""
        self._alive.close()
        with contextlib.suppress(OSError):
            os.unlink(self._folder / PROCESSES / self._process)
