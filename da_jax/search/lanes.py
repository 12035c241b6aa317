"""Several trials side by side in one program, each with numbers of its own."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from da_jax.config.configuration import create_hyperparameters
from da_jax.training.epoch import Trainer
from da_jax.training.run import Run


@dataclasses.dataclass
class Lane:
    """A trial's students, of consecutive seeds.

    Attributes:
      accuracies: of each epoch, each student's top-1 on what is held out, in %.
      diverged: whether a student's loss isn't finite any more.
    """

    accuracies: list[list[float]] = dataclasses.field(default_factory=list)
    diverged: bool = False

    @property
    def value(self) -> float:
        """The mean over the students of what each was at its best."""
        return float(np.mean(np.max(self.accuracies, axis=0)))


class Lanes:
    """A program of so many lanes; what a trial changes is an argument of it.

    A lane that is empty, before its first trial or at the end of a search, trains on
    what it held before: the program is the same, and nobody looks.
    """

    def __init__(
        self, run: Run, num_lanes: int, bar: tqdm, is_to_end: Callable[[], bool]
    ) -> None:
        """Compiles nothing yet.

        Args:
          run: of as many students as all lanes hold.
          num_lanes: how many trials are trained at once.
          bar: moves by the images that were learned from.
          is_to_end: is asked after each program of training steps.
        """
        self.lanes = [Lane() for _ in range(num_lanes)]
        self._run = run
        self._students = len(run.seeds) // num_lanes
        self._epoch = 0
        self._seconds: float | None = None
        self._numbers = [run.hyperparameters] * len(run.seeds)
        self._trainer = Trainer(
            run,
            run.programs.create_train_states(run.config.seed),
            0,
            bar,
            lambda line: None,
            is_to_end,
        )

    def start(self, index: int, config: ConfigDict) -> None:
        """Puts new students, of the config's numbers and seeds, into a lane."""
        programs = self._run.programs
        students = programs.students(self._trainer.states)
        numbers = create_hyperparameters(config, len(self._run.batches))
        first = index * self._students
        for offset in range(self._students):
            students[first + offset] = programs.create_student(config.seed + offset)
            self._numbers[first + offset] = numbers
        self._trainer.states = programs.replicate_students(students)
        self._trainer.numbers = programs.replicate_students(self._numbers)
        self.lanes[index] = Lane()

    def train_epoch(self) -> bool:
        """An epoch of every lane; False if it was to end before its last step."""
        epoch = self._trainer.start_epoch(self._epoch, self._seconds)
        if epoch is None:
            return False
        programs = self._run.programs
        trained = programs.mean_metrics(tuple(state.metrics for state in epoch.states))
        assert epoch.judged is not None, "the pruner looks at every epoch"
        judged = programs.mean_metrics(epoch.judged)
        self._epoch += 1
        self._seconds = time.perf_counter() - epoch.start
        for index, lane in enumerate(self.lanes):
            own = slice(index * self._students, (index + 1) * self._students)
            lane.accuracies.append([100 * metrics["top1"] for metrics in judged[own]])
            lane.diverged |= any(metrics["finite"] < 1 for metrics in trained[own])
        return True
