"""The tasks of stages 1 and 2, in order; each runs in a process of its own."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.half_hour.child import GRACE_PERIOD, run
from benchmarks.half_hour.journal import Journal
from benchmarks.half_hour.sizes import Pair, Size

LIMIT = 300.0
"""Seconds after which a task has failed, unless the call is shorter."""
SHORTEST = 20.0
"""Seconds that must be left to start a task."""
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
GRAPHS = "--xla_gpu_enable_command_buffer=+WHILE,+CONDITIONAL,+CONVOLUTION"


class Task(NamedTuple):
    """A function that runs in a process of its own.

    Attributes:
      name: in the stage's file.
      function: MODULE:FUNCTION of this package.
      arguments: of the function.
      xla_flags: added to those of the environment.
    """

    name: str
    function: str
    arguments: dict[str, Any]
    xla_flags: str = ""


def checks(size: Size, repository: Path) -> list[Task]:
    """Lists the tasks of stage 1."""
    teacher, student = size.training
    digits_teacher = str(repository / "checkpoints" / "digits_resnet20")
    return [
        Task("device", "checks:device", {}),
        Task(
            "first_steps_of_digits",
            "checks:first_steps_of_digits",
            {"steps": size.digits_steps, "teacher": digits_teacher},
        ),
        *(
            Task(f"golden_{kind}", "checks:golden_vectors", {"kind": kind})
            for kind in size.trajectories
        ),
        Task(
            "deterministic",
            "checks:deterministic",
            {
                "teacher": teacher,
                "student": student,
                "steps": size.deterministic_steps,
                "batch_size": size.batch_size,
                "data_dir": "data",
            },
            DETERMINISTIC,
        ),
    ]


def speed(size: Size) -> list[Task]:
    """Lists the tasks of stage 2, the most important first."""
    batch, *other_batches = size.batch_sizes
    precision, *other_precisions = size.precisions
    frameworks = ["da-jax", "PyTorch", "torch.compile"]
    return [
        *(_steps(size, pair, precision, batch, frameworks) for pair in size.pairs),
        *(_epochs(size, pair, precision, batch) for pair in size.pairs),
        *(
            _steps(size, pair, precision, batch, ["da-jax"], GRAPHS)
            for pair in size.pairs
        ),
        *(
            _steps(size, pair, other, batch, frameworks)
            for pair in size.pairs
            for other in other_precisions
        ),
        *(
            _students(size, pair, composition)
            for pair in size.pairs
            for composition in ("unrolled", "vmapped")
        ),
        *(
            _steps(size, pair, of, other, frameworks)
            for pair in size.pairs
            for other in other_batches
            for of in size.precisions
        ),
        *(
            _epochs(size, pair, of, other)
            for pair in size.pairs
            for other in size.batch_sizes
            for of in size.precisions
            if (of, other) != (precision, batch)
        ),
    ]


def _steps(
    size: Size,
    pair: Pair,
    precision: str,
    batch_size: int,
    frameworks: list[str],
    xla_flags: str = "",
) -> Task:
    """Returns a task that times steps, as one CUDA graph if `xla_flags`."""
    words = ["steps", *pair, precision, str(batch_size), *["graph"] * bool(xla_flags)]
    arguments = {
        **_pair(pair),
        "precision": precision,
        "batch_size": batch_size,
        "steps": size.steps,
        "rounds": size.rounds,
        "frameworks": frameworks,
    }
    return Task("_".join(words), "speed:step_times", arguments, xla_flags)


def _epochs(size: Size, pair: Pair, precision: str, batch_size: int) -> Task:
    arguments = {
        **_pair(pair),
        "precision": precision,
        "batch_size": batch_size,
        "images": size.epoch_images,
        "test_images": size.test_images,
        "rounds": size.epoch_rounds,
    }
    name = "_".join(("epochs", *pair, precision, str(batch_size)))
    return Task(name, "speed:epoch_times", arguments)


def _students(size: Size, pair: Pair, composition: str) -> Task:
    arguments = {
        **_pair(pair),
        "batch_size": size.batch_sizes[0],
        "counts": [1, size.students],
        "composition": composition,
        "steps": size.steps,
        "rounds": size.rounds,
    }
    name = "_".join(("students", *pair, composition))
    return Task(name, "speed:student_times", arguments)


def _pair(pair: Pair) -> dict[str, str]:
    return dict(zip(("teacher", "student"), pair, strict=True))


def time_limit(end: float) -> float:
    """Returns the seconds after which a task has failed, in a call that ends at `end`.

    A task that takes longer than nearly a whole call wouldn't finish in the next one.
    """
    return min(LIMIT, 0.95 * (end - time.monotonic() - GRACE_PERIOD))


def run_tasks(
    tasks: list[Task], scratch: Path, journal: Journal, end: float, limit: float
) -> None:
    """Runs the unfinished tasks until `end`.

    Args:
      tasks: of a stage.
      scratch: folder with `data` and `checkpoints`.
      journal: of the stage.
      end: as of `time.monotonic`, in seconds.
      limit: see `time_limit`.
    """
    for task in tasks:
        if journal.is_done(task.name, limit=limit):
            continue
        seconds = end - time.monotonic() - GRACE_PERIOD
        if seconds < SHORTEST:
            return
        start = time.monotonic()
        ended = run(
            task.function,
            task.arguments,
            min(seconds, limit),
            environment={
                "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {task.xla_flags}",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # shared with PyTorch
            },
            folder=scratch,
        )
        took = time.monotonic() - start
        if ended.returncode == 0:
            journal.done(task.name, ended.result, took)
        elif ended.returncode is None and seconds < limit:
            return  # the time is over; the next call retries
        else:
            journal.fail(task.name, ended, took)
    journal.finish()
