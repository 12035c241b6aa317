"""Times a training step of each distillation method and its memory, relative to KD.

python -m benchmarks.methods --teacher resnet32x4 --student resnet8x4

Methods have their default hyperparameters, without DA. KD is always measured. CRD
stores an embedding of every image, so its memory depends on --images.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax

from benchmarks import measure
from benchmarks.task import TaskSpec, create_steps, step_memory
from da_jax.errors import unknown_name
from da_jax.methods import METHODS
from da_jax.training.compilation import configure_compiler

DISTILLATIONS = [name for name in METHODS if name != "vanilla"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument(
        "--methods",
        type=method_names,
        default=DISTILLATIONS,
        help="separated by commas (default: all)",
    )
    parser.add_argument("--images", type=int, default=50_000, help="the training set")
    parser.add_argument("--steps", type=int, default=2, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def method_names(text: str) -> list[str]:
    """Splits names at commas.

    Raises:
      ArgumentTypeError: there is no such method.
    """
    names = text.split(",")
    for name in names:
        if name not in DISTILLATIONS:
            error = unknown_name("method", name, DISTILLATIONS)
            raise argparse.ArgumentTypeError(str(error))
    return names


def contestant(spec: TaskSpec, arguments: argparse.Namespace) -> Callable[[], None]:
    """Returns a function that takes the steps of a round."""
    take = create_steps(spec.build_run(arguments.images))
    return lambda: jax.block_until_ready(take(arguments.steps))


def main() -> None:
    arguments = parse_arguments()
    configure_compiler()
    specs = {
        method: TaskSpec(
            arguments.teacher,
            arguments.student,
            arguments.batch_size,
            probability=None,
            method=method,
        )
        for method in dict.fromkeys(["KD", *arguments.methods])
    }
    contestants = {
        method: contestant(spec, arguments) for method, spec in specs.items()
    }
    timings = measure.take_turns(contestants, arguments.rounds)
    memory = {
        method: step_memory(spec, arguments.images) for method, spec in specs.items()
    }
    rows = [
        (
            method,
            timing.median / arguments.steps,
            timing.spread,
            timing.median / timings["KD"].median,
            memory[method] / 1e9,
            memory[method] / memory["KD"],
        )
        for method, timing in timings.items()
    ]
    header = ("method", "s a step", "spread", "over KD", "GB", "GB over KD's")
    measure.report(header, rows, arguments.json)


if __name__ == "__main__":
    main()
