"""Trials shared by several processes, on one machine or on several.

The Optuna study is in the folder, in SQLite, or in another storage. If a process ends
before its trial does, the trial is rerun with the same values.
"""

import contextlib
import fcntl
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from da_jax.config.record import differing_fields
from da_jax.errors import UserError
from da_jax.search.callbacks import ENDED
from da_jax.search.liveness import PROCESS, Heartbeats, Liveness, Locks
from da_jax.search.space import Space
from da_jax.search.storage import create_storage

STUDY = "da_jax"
FILE = "study.db"
LOCK = "lock"
PROCESSES = "processes"
FILES = (FILE, f"{FILE}-journal", LOCK, PROCESSES)
"""What is in the folder of a study; SQLite has the journal while it writes."""
JOINED = "joined"
"""A study's attribute: how many processes have joined it."""
SEARCH = "search"
"""A study's attribute: the config and the space."""

PRUNERS = ("hyperband", "none")


class TrialTakenError(Exception):
    """A trial was given to another process."""


class Trials:
    """One process's access to a study."""

    def __init__(
        self,
        folder: Path,
        space: Space,
        pruner: str,
        epochs: int,
        storage: BaseStorage | None = None,
        liveness: Liveness | None = None,
    ) -> None:
        """Creates the study, or joins it.

        Args:
          folder: of this process's files, and of the study if there is no `storage`;
            created if it doesn't exist.
          space: the search space.
          pruner: one of `PRUNERS`.
          epochs: of a complete trial.
          storage: of the study, which is named as the folder is.
          liveness: by default locks in the folder, or heartbeats in a `storage`.

        Raises:
          UserError: the folder can't be written.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._folder = folder
        self._space = space
        self._process = uuid.uuid4().hex
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if liveness is None:
                liveness = Heartbeats() if storage else self._locks()
        except OSError as error:
            raise UserError(f"{folder} can't be written: {error.strerror}") from error
        self._liveness = liveness
        self._is_waiting = False
        with self.alone():
            self.study = optuna.create_study(
                storage=storage or create_storage(f"sqlite:///{folder / FILE}"),
                study_name=folder.resolve().name if storage else STUDY,
                direction="maximize",
                load_if_exists=True,
            )
            self.study.sampler = optuna.samplers.TPESampler(
                seed=self._sampler_seed(is_numbered=storage is None),
                multivariate=True,
                constant_liar=True,
            )
        if pruner == "none":
            self.study.pruner = optuna.pruners.NopPruner()
        else:
            self.study.pruner = optuna.pruners.HyperbandPruner(1, epochs)

    def _locks(self) -> Locks:
        return Locks(self._folder / "processes", self._process)

    def _sampler_seed(self, is_numbered: bool) -> int:
        """Returns a seed that no other process has, whose proposals would be the same.

        Processes of one folder are numbered, so that a search can be repeated; those of
        several machines may join at the same moment.
        """
        if not is_numbered:
            return int(self._process, 16) % 2**32
        joined = int(self.study.user_attrs.get(JOINED, 0))
        self.study.set_user_attr(JOINED, joined + 1)
        return joined

    def claim(
        self, search: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Records what is searched, for processes that join from other machines.

        Args:
          search: the config and the space.
          defaults: of config fields that an earlier version hasn't recorded.

        Raises:
          UserError: the study is of another search, with the fields that differ.
        """
        recorded = self.study.user_attrs.get(SEARCH)
        if recorded is None:
            self.study.set_user_attr(SEARCH, dict(search))
        elif fields := differing_fields(search, recorded, defaults):
            raise UserError(
                f"the study {self.study.study_name} holds a search of another config:"
                f" {'; '.join(fields)}; choose another --workdir, whose name is the"
                " study's"
            )

    def next(self, total: int) -> optuna.Trial | None:
        """Returns a trial to run, or None if the study has `total` already."""
        with self.alone():
            self._hand_in_what_is_left()
            if self._count_started() >= total:
                return None
            trial = self.study.ask(self._space)
            trial.set_user_attr(PROCESS, self._process)
            # A process of another machine may have asked at the same moment.
            if self._count_started(before=trial.number) >= total:
                self.study.tell(trial, state=TrialState.FAIL)
                return None
        self._is_waiting = False
        self._liveness.watch(trial)
        return trial

    def _count_started(self, before: int | None = None) -> int:
        """Counts the trials that have ended or run, of those before a number."""
        states = (*ENDED, TrialState.RUNNING)
        trials = self.study.get_trials(deepcopy=False, states=states)
        return sum(before is None or trial.number < before for trial in trials)

    def is_undecided(self) -> bool:
        """Returns whether the process of a running trial may be gone.

        To be called again after `next`, when that has no trial for this process: the
        answer comes with the other's next sign of life, or with its absence, after
        which `next` has its trial.
        """
        if not self._is_waiting:
            self._is_waiting = True
            self._liveness.doubt()  # earlier signs of life may be long past
        return any(not self._liveness.is_alive(trial) for trial in self._others())

    def end(
        self, trial: optuna.Trial, value: float | None, attributes: Mapping[str, Any]
    ) -> FrozenTrial:
        """Ends a trial of this process.

        Args:
          trial: the trial.
          value: of a complete trial; None for one that is stopped early.
          attributes: stored with the trial.

        Returns:
          The trial as it is stored.
        """
        self._liveness.forget(trial)
        for name, content in attributes.items():
            trial.set_user_attr(name, content)
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        return self.study.tell(trial, value, state)

    @contextlib.contextmanager
    def own(self, trial: optuna.Trial) -> Iterator[None]:
        """Converts the errors of changing a trial that isn't this process's any more.

        Raises:
          TrialTakenError: another process took this one for gone, and ended the trial.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:  # Optuna's, of an ended trial
            self._liveness.forget(trial)
            raise TrialTakenError(
                f"trial {trial.number} was given to another process, after no sign of"
                " life from this one"
            ) from error

    def hand_in(self, trial: optuna.Trial) -> None:
        """Leaves an unfinished trial to another process, or to the next start."""
        self._liveness.forget(trial)
        with self.alone():
            self._give_up(self.study.trials[trial.number])

    def _hand_in_what_is_left(self) -> None:
        """Returns the trials of processes that have ended."""
        for trial in self._others():
            if self._liveness.is_alive(trial) is False:
                self._give_up(trial)

    def _others(self) -> Sequence[FrozenTrial]:
        """Returns the running trials of other processes."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [
            trial for trial in running if trial.user_attrs.get(PROCESS) != self._process
        ]

    def _give_up(self, trial: FrozenTrial) -> None:
        # Of several processes that do this at once, only one can end the trial.
        with contextlib.suppress(RuntimeError, ValueError):
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params, {"again": trial.number})

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Excludes the other processes of this folder."""
        with (self._folder / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Leaves the study."""
        self._liveness.close()
