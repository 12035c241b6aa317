"""Epochs on the devices: training steps, in programs of many, and an evaluation."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from da_jax.training.callbacks import Callbacks
from da_jax.training.composition import States
from da_jax.training.run import Run
from da_jax.training.state import Metrics

SECONDS_PER_CALL = 5.0
"""How long a program of many steps may take, unless the config says how many."""

FIRST_EPOCH_CALLS = 20
"""How many such programs the first epoch has, as its time is unknown."""

CALLS_IN_FLIGHT = 4
"""How many programs of training steps the host may be ahead of the devices."""

COMPILING = "compiling the training step"
"""What a run logs before its first training step."""

FIRST_STEP = "compiled in"
"""How the line starts that a run logs after its first training step."""


@dataclasses.dataclass(frozen=True)
class Epoch:
    """An epoch that the devices may still be working on.

    Attributes:
      number: from 0.
      start: when it was started, in seconds.
      states: the students after it, with its metrics.
      evaluated: the sums of its evaluation's metrics, or None without an evaluation.
    """

    number: int
    start: float
    states: States
    evaluated: tuple[Metrics, ...] | None


class Trainer:
    """Trains a run's students, epoch after epoch, and evaluates them in between.

    Where programs run ahead of the host it doesn't wait for an epoch's end.

    Attributes:
      states: the students, on the devices.
      hyperparameters: of each, on the devices.
    """

    def __init__(
        self,
        run: Run,
        states: States,
        step: int,
        callbacks: Callbacks,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Starts nothing yet.

        Args:
          run: the run.
          states: its students, on the devices; they are donated.
          step: how many steps they have taken.
          callbacks: are called with the images that were processed.
          should_stop: is asked before each program of training steps.
        """
        self.states = states
        self.hyperparameters = run.replicated_hyperparameters
        self._run = run
        self._step = step
        self._callbacks = callbacks
        self._should_stop = should_stop
        self._epochs_started = 0
        self._compiled = False

    def start_epoch(
        self, number: int, last_seconds: float | None, *, evaluate: bool = True
    ) -> Epoch | None:
        """Starts an epoch from where the states are: its steps, and an evaluation.

        Args:
          number: of the epoch, from 0.
          last_seconds: of the epoch before, if that is known.
          evaluate: whether an evaluation follows.

        Returns:
          The epoch, or None if it was stopped before all its steps were taken.
        """
        start = time.perf_counter()
        run, steps = self._run, self._run.steps
        batches = run.batches[self._step - number * len(run.batches) :]
        orders = steps.epoch_orders(
            self.states, len(run.batches), run.train.labels.shape[1]
        )
        in_flight: list[jax.Array] = []
        if not self._compiled:
            self._callbacks.log(COMPILING)
        for is_traced, calls in self._calls(batches, last_seconds):
            with self._trace() if is_traced else contextlib.nullcontext():
                for call in calls:
                    if self._should_stop():
                        return None
                    self.states, step = steps.train_steps(
                        self.states,
                        run.replicated_teacher,
                        run.train,
                        orders,
                        call.position,
                        call.num_steps,
                        self.hyperparameters,
                        call.batch_size,
                    )
                    in_flight.append(step)
                    self._called(call, in_flight, start)
        evaluated = None
        if evaluate:
            networks = [state.eval_variables for state in self.states]
            evaluated = steps.evaluate(
                networks,
                run.eval_examples,
                run.options.eval_batch_size,
                self._callbacks.images_processed,
            )
        states = self.states
        if steps.runs_ahead:  # the next epoch donates the states
            states = jax.tree.map(jnp.copy, states)
        self._epochs_started += 1
        return Epoch(number, start, states, evaluated)

    def _called(self, call: "Call", in_flight: list[jax.Array], start: float) -> None:
        """Counts a program of an epoch since `start`, and waits for older ones."""
        self._step += call.num_steps
        if not self._compiled:
            jax.block_until_ready(in_flight)
            self._compiled = True
            seconds = time.perf_counter() - start
            self._callbacks.log(f"{FIRST_STEP} {seconds:.1f} s, with the first step")
        if len(in_flight) > CALLS_IN_FLIGHT:
            jax.block_until_ready(in_flight.pop(0))
        images = call.num_steps * call.batch_size * len(self._run.seeds)
        self._callbacks.images_processed(images)

    def _calls(
        self, batches: list[tuple[int, int]], last_seconds: float | None
    ) -> list[tuple[bool, list["Call"]]]:
        """An epoch's programs: those that are traced, and the others."""
        per_call = self._steps_per_call(last_seconds)
        # What is traced isn't the process's first epoch, which compiles.
        traced = self._run.options.profile_steps if self._epochs_started == 1 else 0
        parts = (True, batches[:traced]), (False, batches[traced:])
        return [(is_traced, epoch_calls(of, per_call)) for is_traced, of in parts if of]

    @contextlib.contextmanager
    def _trace(self) -> Iterator[None]:
        folder = self._run.workdir / "profile"
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            yield
            jax.block_until_ready(self.states)
        self._callbacks.log(f"a trace of the epoch's first steps is in {folder}")

    def _steps_per_call(self, last_seconds: float | None) -> int:
        """As configured; else 1 on a CPU, and on accelerators the whole epoch.

        A long epoch, or one of unknown length, is several programs, so that the
        progress bar moves. How many steps a program takes is traced.
        """
        run = self._run
        if run.options.steps_per_call:
            return run.options.steps_per_call
        if not run.steps.runs_ahead:
            return 1
        calls = FIRST_EPOCH_CALLS
        if last_seconds is not None:
            calls = max(1, round(last_seconds / SECONDS_PER_CALL))
        return math.ceil(len(run.batches) / calls)


class Call(NamedTuple):
    """A program of training steps.

    Attributes:
      position: where its first batch starts in the epoch's order.
      num_steps: how many batches it trains on.
      batch_size: of each.
    """

    position: int
    num_steps: int
    batch_size: int


def epoch_calls(batches: list[tuple[int, int]], steps_per_call: int) -> list[Call]:
    """Groups batches, (position, size) each, into programs of at most so many steps."""
    calls: list[Call] = []
    for position, size in batches:
        last = calls[-1] if calls else None
        if last and last.num_steps < steps_per_call and last.batch_size == size:
            calls[-1] = last._replace(num_steps=last.num_steps + 1)
        else:
            calls.append(Call(position, 1, size))
    return calls
