"""Checks, benchmarks and trains on an accelerator for half an hour, in short calls.

python -m benchmarks.half_hour --output DIR --cifar100 FOLDER --teachers FOLDER

Stages: 1 checks of the device against the CPU and the original, 2 speed against
PyTorch, 3 real training (resnet56 → resnet20 by KD and KD + DA, then resnet32x4 from
scratch). A call ends after --minutes, and the same command resumes from DIR, which
holds a JSON file for each stage, `weights.zip` of the finished runs, and an archive of
the unfinished run.

The teachers' folder holds PyTorch's cifar100_resnet56.pth. TensorFlow, TFDS, clu and
ml_collections aren't needed. `--rehearse` runs everything at a tiny size on any device;
without data it uses 192 real images, without teachers an untrained one.
"""

import argparse
import contextlib
import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks.half_hour import stand_ins
from benchmarks.half_hour.child import REPOSITORY

stand_ins.install()  # before da_jax is imported

from benchmarks import measure  # noqa: E402
from benchmarks.half_hour import archives, inputs, stages, training  # noqa: E402
from benchmarks.half_hour.journal import Journal  # noqa: E402
from benchmarks.half_hour.sizes import FULL, REHEARSAL  # noqa: E402
from da_jax.commands.command_line import Parser, exit_on_error  # noqa: E402
from da_jax.errors import UserError  # noqa: E402

STAGES = ("1_checks", "2_speed", "3_training")
SHORTEST_CALL = 1.0
"""Minutes; a shorter call couldn't start any task."""


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m benchmarks.half_hour",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=9.0, help="default: 9")
    parser.add_argument(
        "--cifar100",
        type=Path,
        metavar="FOLDER",
        help="the official binary files, or the cache of them (cifar100-*.npz)",
    )
    parser.add_argument("--teachers", type=Path, metavar="FOLDER")
    parser.add_argument("--rehearse", action="store_true")
    return parser.parse_args()


@contextlib.contextmanager
def scratch_folder(output: Path) -> Iterator[Path]:
    """Creates an empty temporary folder, with the same path in every call.

    Raises:
      UserError: another call is using this output.
    """
    digest = hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"da_jax_half_hour_{digest}"
    with folder.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another call is using {output}") from error
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed call
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def closing_table(journals: list[Journal]) -> str:
    """Formats a table of all tasks, of this call and earlier ones."""
    rows = [
        (journal.name, name, task["state"], task["seconds"], _figure(task))
        for journal in journals
        for name, task in journal.tasks.items()
    ]
    return measure.table(("stage", "task", "state", "seconds", "found"), rows)


def _figure(task: dict[str, Any]) -> str:
    """Summarises a task for its row of the table."""
    if task["state"] == "failed":
        return (task["said"].strip().splitlines() or ["no output"])[-1][:100]
    found = task["found"].get("figures", task["found"])
    if isinstance(found, list):
        return "; ".join(_timed(row) for row in found)
    if "results" in found:
        return f"last epoch {found['results']['last']['test_top1']:.2f} %"
    shown = {
        name: value
        for name, value in found.items()
        if name in ("kind", "largest_relative_error", "device")
        or name.endswith("differ_in")
        or name.endswith("differs_in")
    }
    return ", ".join(f"{name}: {_short(value)}" for name, value in shown.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one:.2g}" for name, one in value.items())
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _timed(row: dict[str, Any]) -> str:
    words = [str(row[name]) for name in ("method", "students") if name in row]
    time = f"{row['seconds']:.4g} s" if "seconds" in row else "failed"
    return " ".join([row["framework"], *words, time])


@exit_on_error()
def main() -> None:
    arguments = parse_arguments()
    end = time.monotonic() + 60 * arguments.minutes
    size = REHEARSAL if arguments.rehearse else FULL
    inputs.check(arguments.cifar100, arguments.teachers, size, arguments.rehearse)
    output = arguments.output.resolve()
    if arguments.minutes < SHORTEST_CALL:
        raise UserError(f"--minutes is {arguments.minutes:g}; give {SHORTEST_CALL:g}")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from error
    with scratch_folder(output) as scratch:
        archives.clean(output)
        journals = [Journal(output, name, size.name) for name in STAGES]
        inputs.prepare(arguments.cifar100, arguments.teachers, size, scratch)
        checks, speed, trained = journals
        limit = stages.time_limit(end)
        tasks = stages.checks(size, REPOSITORY)
        stages.run_tasks(tasks, scratch, checks, end, limit)
        if checks.is_finished:
            stages.run_tasks(stages.speed(size), scratch, speed, end, limit)
        if speed.is_finished:
            training.run_all(size, output, scratch, trained, end)
    print(closing_table(journals))
    if all(journal.is_finished for journal in journals):
        print(f"everything is done; see {arguments.output}")
    else:
        print("the time is over; the same command resumes from here")


if __name__ == "__main__":
    # This process only reads and writes checkpoints. Its tasks, whose environment isn't
    # changed, use the device.
    jax.config.update("jax_platforms", "cpu")
    main()
