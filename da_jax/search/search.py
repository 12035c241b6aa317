"""The search: runs trials, and prunes them by their accuracy on held-out examples."""

import time
from pathlib import Path

import numpy as np
import optuna
from ml_collections import ConfigDict

from da_jax.config.build import (
    build_run,
    create_hyperparameters,
    create_task,
    load_data,
    load_teacher,
)
from da_jax.errors import UserError
from da_jax.search.callbacks import SearchCallbacks, describe
from da_jax.search.lanes import Lanes
from da_jax.search.space import Space, ends, with_values
from da_jax.search.trials import Trials, TrialTakenError
from da_jax.training.interruption import Interruption, RunEndedError
from da_jax.training.state import Task

POLL_SECONDS = 1.0
"""Between two looks at what other processes do."""

ACCURACIES = "accuracies"
"""A trial's attribute: top-1 (%) on the held-out examples, by student and epoch."""


class Search:
    """One process of a search. Trials share programs where possible.

    Attributes:
      config: the config that trials vary; a tenth of the training set is held out if
        `validation_size` is 0.
      space: the fields that they vary.
    """

    def __init__(self, config: ConfigDict, space: Space, num_lanes: int) -> None:
        """Loads the training set and the teacher.

        Args:
          config: the config that trials vary.
          space: the fields that they vary.
          num_lanes: how many trials are trained in one program.

        Raises:
          UserError: something is missing, or the trials of one program differ in a
            field that isn't traced.
        """
        self.config = config.copy_and_resolve_references()
        self.space = space
        self._num_lanes = num_lanes
        self._dataset = load_data(config)
        if not config.validation_size:
            self.config.validation_size = len(self._dataset.train.labels) // 10
        if num_lanes > 1:
            self._check_that_all_are_traced()
        self._teacher = load_teacher(config, self._dataset)
        self._programs: dict[tuple[Task, int], Lanes] = {}
        self._running: dict[int, optuna.Trial] = {}

    def _check_that_all_are_traced(self) -> None:
        """Checks that all fields of the space are traced, at all their values.

        Raises:
          UserError: a field isn't.
        """
        for field, distribution in self.space.items():
            changed = [
                with_values(self.config, {field: value}) for value in ends(distribution)
            ]
            tasks = {create_task(one, self._dataset) for one in changed}
            scalars = {str(create_hyperparameters(one, 100)) for one in changed}
            if len(tasks) > 1 or len(scalars) < len(changed):
                raise UserError(
                    f"the space's field {field} isn't a traced hyperparameter for all"
                    " of its values, so its trials can't share a program; use"
                    " --parallel_trials=1"
                )

    def run(self, trials: Trials, total: int, callbacks: SearchCallbacks) -> None:
        """Runs trials until the study has `total`.

        Args:
          trials: the trials of the study.
          total: the number of trials to reach.
          callbacks: report the progress.

        Raises:
          RunEndedError: a signal was received. Another process, or the next start,
            reruns the unfinished trials.
        """
        with Interruption(callbacks.warn) as interruption:
            while True:
                lanes = self._fill(trials, total, callbacks, interruption)
                if lanes is None and not trials.is_undecided():
                    return
                if not self._train_or_wait(lanes, callbacks, interruption):
                    for trial in self._running.values():
                        trials.hand_in(trial)
                    raise RunEndedError(
                        interruption.number, "; unfinished trials will be rerun"
                    )
                for index in list(self._running):
                    assert lanes is not None
                    self._report(index, lanes, trials, total, callbacks)

    def _train_or_wait(
        self,
        lanes: Lanes | None,
        callbacks: SearchCallbacks,
        interruption: Interruption,
    ) -> bool:
        """Trains an epoch, or waits to see whether the other processes are alive.

        Returns:
          False if a signal was received.
        """
        if lanes is not None:
            return lanes.train_epoch()
        callbacks.status("waiting for other processes")
        time.sleep(POLL_SECONDS)
        return not interruption.is_requested()

    def _fill(
        self,
        trials: Trials,
        total: int,
        callbacks: SearchCallbacks,
        interruption: Interruption,
    ) -> Lanes | None:
        """Starts a trial in each empty lane; returns None when no trial is left."""
        for index in range(self._num_lanes):
            if index in self._running:
                continue
            trial = trials.next(total)
            if trial is None:
                break
            config = with_values(self.config, trial.params)
            self._lanes = self._program(config, callbacks, interruption)
            self._lanes.start(index, config)
            self._running[index] = trial
        numbers = ", ".join(str(trial.number) for trial in self._running.values())
        callbacks.status(f"trial {numbers}")
        return self._lanes if self._running else None

    def _program(
        self, config: ConfigDict, callbacks: SearchCallbacks, interruption: Interruption
    ) -> Lanes:
        """Returns the lanes with the program for this config."""
        key = create_task(config, self._dataset), config.batch_size
        if key not in self._programs:
            config = config.copy_and_resolve_references()
            config.num_seeds *= self._num_lanes
            run = build_run(config, Path(), self._dataset, self._teacher)
            self._programs[key] = Lanes(
                run, self._num_lanes, callbacks, interruption.is_requested
            )
        return self._programs[key]

    def _report(
        self,
        index: int,
        lanes: Lanes,
        trials: Trials,
        total: int,
        callbacks: SearchCallbacks,
    ) -> None:
        """Reports a trial's epoch to the study, and ends the trial if it is done."""
        trial, lane = self._running[index], lanes.lanes[index]
        is_whole = len(lane.accuracies) == self.config.num_epochs
        try:
            with trials.own(trial):
                trial.report(lane.value, len(lane.accuracies))
                if not (is_whole or lane.diverged or trial.should_prune()):
                    return
                accuracies = np.transpose(lane.accuracies).tolist()
                ended = trials.end(
                    trial, lane.value if is_whole else None, {ACCURACIES: accuracies}
                )
        except TrialTakenError as error:
            callbacks.warn(str(error))
        else:
            found = trials.study.get_trials(deepcopy=False)
            callbacks.trial_finished(describe(ended, found, total))
        del self._running[index]
