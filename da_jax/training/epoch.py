"""Epochs on the devices: training steps, in programs of many, and an evaluation."""

import dataclasses
import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from tqdm import tqdm

from da_jax.training.composition import States
from da_jax.training.run import Run
from da_jax.training.state import Metrics

SECONDS_PER_CALL = 5.0
"""How long a program of many steps may take, unless the config says how many."""

FIRST_EPOCH_CALLS = 20
"""How many such programs the first epoch is, as nobody knows yet how long it takes."""

CALLS_IN_FLIGHT = 4
"""How many programs of training steps the host may be ahead of the devices."""

FIRST_STEP = "the first training step is done"
"""What a run says once the programs that train are compiled."""


@dataclasses.dataclass(frozen=True)
class Epoch:
    """An epoch that the devices may still be at.

    Attributes:
      number: from 0.
      start: when it was started, in seconds.
      states: the students after it, with its metrics.
      judged: the sums of its evaluation's metrics, or None without an evaluation.
    """

    number: int
    start: float
    states: States
    judged: tuple[Metrics, ...] | None


class Trainer:
    """Trains a run's students, epoch after epoch, and evaluates them in between.

    Where the programs run ahead of the host it doesn't wait for an epoch's end.

    Attributes:
      states: the students, on the devices.
      numbers: each one's hyperparameters, on the devices.
    """

    def __init__(
        self,
        run: Run,
        states: States,
        step: int,
        bar: tqdm,
        say: Callable[[str], None],
        is_to_end: Callable[[], bool] = lambda: False,
    ) -> None:
        """Starts nothing yet.

        Args:
          run: the run.
          states: its students, on the devices; not to be used again.
          step: how many steps they have taken.
          bar: moves by the images that were learned from.
          say: is called with a line for the user.
          is_to_end: is asked after each program of training steps.
        """
        self.states = states
        self.numbers = run.replicated_hyperparameters
        self._run = run
        self._step = step
        self._bar = bar
        self._say = say
        self._is_to_end = is_to_end
        self._epochs_started = 0
        self._compiled = False

    def start_epoch(
        self, number: int, last_seconds: float | None, *, evaluate: bool = True
    ) -> Epoch | None:
        """Has the devices train, from where the states are, and evaluate for an epoch.

        Args:
          number: of the epoch, from 0.
          last_seconds: what the epoch before took, if that is known.
          evaluate: whether an evaluation follows.

        Returns:
          The epoch, or None if it was to end before all its steps were taken.
        """
        start = time.perf_counter()
        if not self._train(number, last_seconds):
            return None
        programs, states = self._run.programs, self.states
        judged = None
        if evaluate:
            networks = [state.variables for state in states]
            judged = programs.evaluate(
                networks, self._run.judge, self._run.config.eval_batch_size
            )
        if programs.runs_ahead:  # the next epoch takes the states' memory
            states = jax.tree.map(jnp.copy, states)
        self._epochs_started += 1
        return Epoch(number, start, states, judged)

    def _train(self, number: int, last_seconds: float | None) -> bool:
        """Takes the epoch's steps; False if it was to end before the last."""
        run = self._run
        orders = run.programs.epoch_orders(
            self.states, len(run.batches), run.train.labels.shape[1]
        )
        batches = run.batches[self._step - number * len(run.batches) :]
        per_call = self._steps_per_call(last_seconds)
        # What is traced isn't the process's first epoch, which compiles.
        traced = run.config.profile_steps if self._epochs_started == 1 else 0
        if traced:
            folder = run.workdir / "profile"
            with jax.profiler.trace(folder, create_perfetto_trace=True):
                whole = self._steps(orders, epoch_calls(batches[:traced], per_call))
                jax.block_until_ready(self.states)
            self._say(f"a trace of the epoch's first steps is in {folder}")
            if not whole:
                return False
        return self._steps(orders, epoch_calls(batches[traced:], per_call))

    def _steps(
        self, orders: tuple[jax.Array, ...], calls: list[tuple[int, int, int]]
    ) -> bool:
        """Programs of steps, as `epoch_calls` has them; False if it was to end."""
        run = self._run
        under_way: list[jax.Array] = []
        for position, num_steps, batch_size in calls:
            if self._is_to_end():
                return False
            self.states, step = run.programs.train_steps(
                self.states,
                run.replicated_teacher,
                run.train,
                orders,
                position,
                num_steps,
                self.numbers,
                batch_size,
            )
            self._step += num_steps
            under_way.append(step)
            if not self._compiled:
                jax.block_until_ready(step)
                self._compiled = True
                self._say(FIRST_STEP)
            if len(under_way) > CALLS_IN_FLIGHT:
                jax.block_until_ready(under_way.pop(0))
            self._bar.update(num_steps * batch_size * len(run.seeds))
        return True

    def _steps_per_call(self, last_seconds: float | None) -> int:
        """As configured; else 1 on a CPU, and on accelerators the whole epoch.

        A long epoch, or one of unknown length, is several programs' work, so that the
        progress bar moves. How many steps a program takes is an argument of it.
        """
        run = self._run
        if run.config.steps_per_call:
            return run.config.steps_per_call
        if not run.programs.runs_ahead:
            return 1
        calls = FIRST_EPOCH_CALLS
        if last_seconds is not None:
            calls = max(1, round(last_seconds / SECONDS_PER_CALL))
        return math.ceil(len(run.batches) / calls)


def epoch_calls(
    batches: list[tuple[int, int]], steps_per_call: int
) -> list[tuple[int, int, int]]:
    """The batches in programs of at most `steps_per_call` steps.

    Returns:
      Where a program's first batch starts, how many follow, and their size.
    """
    calls: list[tuple[int, int, int]] = []
    for position, batch_size in batches:
        if calls and calls[-1][1] < steps_per_call and calls[-1][2] == batch_size:
            first, num_steps, _ = calls.pop()
            calls.append((first, num_steps + 1, batch_size))
        else:
            calls.append((position, 1, batch_size))
    return calls
