"""The search itself: what is held out says which trial goes on, and how far."""

from pathlib import Path

import numpy as np
import optuna
from ml_collections import ConfigDict
from optuna.trial import TrialState
from tqdm import tqdm

from da_jax.config.configuration import create_hyperparameters, create_problem
from da_jax.errors import UserError
from da_jax.search.lanes import Lanes
from da_jax.search.space import Space, ends, with_values
from da_jax.search.summary import shown
from da_jax.search.trials import Trials
from da_jax.training.interruption import Interruption, RunEndedError
from da_jax.training.run import create_run, load_data, load_teacher
from da_jax.training.state import Problem

ACCURACIES = "accuracies"
"""A trial's attribute: each student's top-1 (%) on what is held out, of each epoch."""


class Search:
    """A process's search; its trials are trained in one program where they can be.

    Attributes:
      config: that the trials vary, with a tenth of the training set held out if it
        doesn't say how much.
    """

    def __init__(self, config: ConfigDict, space: Space, num_lanes: int) -> None:
        """Loads the data, but not the test set, and the teacher.

        Args:
          config: that the trials vary.
          space: what they vary.
          num_lanes: how many are trained side by side.

        Raises:
          UserError: something is missing, or trials that are to be trained in one
            program need several.
        """
        self.config = config.copy_and_resolve_references()
        self._space = space
        self._num_lanes = num_lanes
        self._dataset = load_data(config)
        if not config.validation_size:
            self.config.validation_size = len(self._dataset.train.labels) // 10
        if num_lanes > 1:
            self._check_that_all_are_numbers()
        self._teacher = None
        if config.teacher.model:
            self._teacher = load_teacher(config, self._dataset)
        self._programs: dict[tuple[Problem, int], Lanes] = {}
        self._running: dict[int, optuna.Trial] = {}

    def _check_that_all_are_numbers(self) -> None:
        """Refuses fields whose values aren't arguments of one program."""
        base = create_problem(self.config, self._dataset)
        for field, distribution in self._space.items():
            changed = [
                with_values(self.config, {field: value}) for value in ends(distribution)
            ]
            problems = [create_problem(one, self._dataset) for one in changed]
            numbers = {str(create_hyperparameters(one, 100)) for one in changed}
            if problems != [base] * len(problems) or len(numbers) < len(changed):
                raise UserError(
                    f"the space's field {field} isn't a number that a program takes as"
                    " an argument, so its trials can't be trained side by side; take"
                    " --parallel_trials=1"
                )

    def run(self, trials: Trials, total: int) -> None:
        """Runs trials until there are `total` in the study.

        Raises:
          RunEndedError: by a signal; somebody else runs the trials under way.
        """
        with (
            Interruption() as interruption,
            tqdm(unit="img", unit_scale=True, disable=None) as bar,
        ):
            while lanes := self._fill(trials, total, bar, interruption):
                if not lanes.train_epoch():
                    for trial in self._running.values():
                        trials.hand_in(trial)
                    raise RunEndedError(
                        interruption.number, "; the trials under way will be run anew"
                    )
                for index in list(self._running):
                    self._judge(index, lanes, trials.study)

    def _fill(
        self, trials: Trials, total: int, bar: tqdm, interruption: Interruption
    ) -> Lanes | None:
        """Puts a trial into each empty lane; None when no lane has one."""
        for index in range(self._num_lanes):
            if index in self._running:
                continue
            trial = trials.next(total)
            if trial is None:
                break
            config = with_values(self.config, trial.params)
            self._lanes = self._program(config, bar, interruption)
            self._lanes.start(index, config)
            self._running[index] = trial
        numbers = ", ".join(str(trial.number) for trial in self._running.values())
        bar.set_description(f"trial {numbers}")
        return self._lanes if self._running else None

    def _program(
        self, config: ConfigDict, bar: tqdm, interruption: Interruption
    ) -> Lanes:
        """The lanes whose program takes this config's numbers."""
        key = create_problem(config, self._dataset), config.batch_size
        if key not in self._programs:
            config = config.copy_and_resolve_references()
            config.num_seeds *= self._num_lanes
            run = create_run(config, Path(), self._dataset, self._teacher)
            self._programs[key] = Lanes(
                run, self._num_lanes, bar, interruption.is_requested
            )
        return self._programs[key]

    def _judge(self, index: int, lanes: Lanes, study: optuna.Study) -> None:
        """Reports a trial's epoch, and ends the trial if it was its last."""
        trial, lane = self._running[index], lanes.lanes[index]
        trial.report(lane.value, len(lane.accuracies))
        is_whole = len(lane.accuracies) == self.config.num_epochs
        if not (is_whole or lane.diverged or trial.should_prune()):
            return
        trial.set_user_attr(ACCURACIES, np.transpose(lane.accuracies).tolist())
        if is_whole:
            study.tell(trial, lane.value)
        else:
            study.tell(trial, state=TrialState.PRUNED)
        del self._running[index]
        values = ", ".join(
            f"{field}={shown(trial.params[field])}" for field in self._space
        )
        stopped = "" if is_whole else ", stopped early"
        tqdm.write(
            f"trial {trial.number:3d} | {lane.value:.2f} % after"
            f" {len(lane.accuracies)} epochs{stopped} | {values}"
        )
