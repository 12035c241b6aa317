"""Times steps of several students in one program, for each composition.

python -m benchmarks.seeds --teacher resnet20 --student resnet8
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax

from benchmarks import measure
from benchmarks.task import TaskSpec, create_steps
from da_jax.training.compilation import configure_compiler
from da_jax.training.composition import COMPOSITIONS
from da_jax.training.parallel import PmappedSteps


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.seeds", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--teacher", default="resnet20")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--students", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--compositions", nargs="+", default=list(COMPOSITIONS))
    parser.add_argument(
        "--steps", type=int, default=8, help="per round; about p of them augment"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def contestant(spec: TaskSpec, steps: int, composition: str) -> Callable[[], None]:
    """Returns a function that takes `steps` steps of all students.

    Every composition augments the same batches.
    """
    run = spec.build_run(spec.batch_size * steps)
    pmapped = PmappedSteps(run.task, spec.students, composition=composition)
    take = create_steps(dataclasses.replace(run, steps=pmapped))
    return lambda: jax.block_until_ready(take(steps))


def main() -> None:
    arguments = parse_arguments()
    configure_compiler()
    pair = (arguments.teacher, arguments.student, arguments.batch_size)
    contestants = {
        (students, composition): contestant(
            TaskSpec(*pair, students), arguments.steps, composition
        )
        for students in arguments.students
        for composition in arguments.compositions
    }
    timings = measure.take_turns(contestants, arguments.rounds)
    fastest = min(t.median for (students, _), t in timings.items() if students == 1)
    rows = [
        (
            students,
            composition,
            timing.median / arguments.steps,
            timing.spread,
            timing.median / fastest,
            timing.median / fastest / students,
        )
        for (students, composition), timing in timings.items()
    ]
    header = ("seeds", "composition", "s a step", "spread", "over one", "a seed")
    measure.report(header, rows, arguments.json)


if __name__ == "__main__":
    main()
