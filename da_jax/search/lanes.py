"""Several trials in one program, each with its own hyperparameters."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from da_jax.config.build import create_hyperparameters
from da_jax.training.callbacks import Callbacks
from da_jax.training.epoch import Trainer
from da_jax.training.run import Run


@dataclasses.dataclass
class Lane:
    """The students of a trial, with consecutive seeds.

    Attributes:
      accuracies: top-1 (%) on the held-out examples, by epoch and student.
      diverged: whether a student's loss was infinite or NaN.
    """

    accuracies: list[list[float]] = dataclasses.field(default_factory=list)
    diverged: bool = False

    @property
    def value(self) -> float:
        """The students' best accuracies (%), averaged."""
        return float(np.mean(np.max(self.accuracies, axis=0)))


class Quiet(Callbacks):
    """Forwards the images that were trained on, and no line for the user."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks

    def images_processed(self, count: int) -> None:
        """Forwards the count."""
        self._callbacks.images_processed(count)


class Lanes:
    """A program that trains several trials, each in a lane.

    The fields that trials vary are traced, so all trials share the program. An empty
    lane, before its first trial or at the end of a search, keeps training its last
    students and ignores their results.
    """

    def __init__(
        self,
        run: Run,
        num_lanes: int,
        callbacks: Callbacks,
        should_stop: Callable[[], bool],
    ) -> None:
        """Creates the students; compiles no training step yet.

        Args:
          run: a run with the students of all lanes.
          num_lanes: how many trials are trained at once.
          callbacks: called with the number of images that were trained on.
          should_stop: called before each program of training steps.
        """
        self.lanes = [Lane() for _ in range(num_lanes)]
        self._run = run
        self._students = len(run.seeds) // num_lanes
        self._epoch = 0
        self._seconds: float | None = None
        self._hyperparameters = [run.hyperparameters] * len(run.seeds)
        self._trainer = Trainer(
            run,
            run.steps.create_train_states(
                run.options.seed, run.hyperparameters, run.start
            ),
            0,
            Quiet(callbacks),
            should_stop,
        )

    def start(self, index: int, config: ConfigDict) -> None:
        """Starts a trial: new students with the config's hyperparameters and seeds.

        Args:
          index: of the lane.
          config: the trial's config.
        """
        steps = self._run.steps
        students = steps.students(self._trainer.states)
        hyperparameters = create_hyperparameters(config, len(self._run.batches))
        first = index * self._students
        for offset in range(self._students):
            students[first + offset] = steps.create_train_state(
                config.seed + offset, hyperparameters, self._run.start
            )
            self._hyperparameters[first + offset] = hyperparameters
        self._trainer.states = steps.replicate_students(students)
        self._trainer.hyperparameters = steps.replicate_students(self._hyperparameters)
        self.lanes[index] = Lane()

    def train_epoch(self) -> bool:
        """Trains every lane for an epoch.

        Returns:
          False if `should_stop` ended the epoch.
        """
        epoch = self._trainer.start_epoch(self._epoch, self._seconds)
        if epoch is None:
            return False
        steps = self._run.steps
        trained = steps.mean_metrics(tuple(state.metrics for state in epoch.states))
        assert epoch.evaluated is not None, "the pruner needs every epoch"
        evaluated = steps.mean_metrics(epoch.evaluated)
        self._epoch += 1
        self._seconds = time.perf_counter() - epoch.start
        for index, lane in enumerate(self.lanes):
            own = slice(index * self._students, (index + 1) * self._students)
            lane.accuracies.append(
                [100 * metrics["top1"] for metrics in evaluated[own]]
            )
            lane.diverged |= any(metrics["finite"] < 1 for metrics in trained[own])
        return True
