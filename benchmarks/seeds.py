"""What several students in one program cost, against one: step times by composition.

python -m benchmarks.seeds --teacher resnet20 --student resnet8
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from configs import default
from da_jax.composition import COMPOSITIONS
from da_jax.configuration import create_hyperparameters, create_problem
from da_jax.datasets import Dataset, Examples
from da_jax.datasets.cifar100 import PREPROCESSING
from da_jax.models import create_model
from da_jax.parallel import Programs


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
        "--steps", type=int, default=8, help="a round; each has its coins"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def synthetic_dataset(size: int) -> Dataset:
    """Noise of CIFAR-100's shape: a step's time doesn't depend on the images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, 32, 32, 3), np.uint8)
    examples = Examples(images, rng.integers(0, 100, size).astype(np.int32))
    return Dataset(examples, examples, 100, PREPROCESSING)


def contestant(
    arguments: argparse.Namespace, students: int, composition: str
) -> Callable[[], None]:
    """Some steps of so many students; the coins fall the same in all compositions."""
    config = default.create(arguments.student, [arguments.teacher], "")
    dataset = synthetic_dataset(size=arguments.batch_size * arguments.steps)
    programs = Programs(
        create_problem(config, dataset), students, composition=composition
    )
    init = jax.jit(create_model(arguments.teacher).init)
    teacher = programs.replicate(init(jax.random.key(1), jnp.zeros((1, 32, 32, 3))))
    examples = programs.replicate(dataset.train)
    hyperparameters = programs.replicate(create_hyperparameters(config, 1000))
    states = programs.create_train_states(0)
    orders = programs.epoch_orders(states, 0, len(dataset.train.labels))

    def run() -> None:
        nonlocal states
        states, metrics = programs.train_steps(
            states,
            teacher,
            examples,
            orders,
            0,
            arguments.steps,
            hyperparameters,
            arguments.batch_size,
        )
        jax.block_until_ready((states, metrics))

    return run


def main() -> None:
    arguments = parse_arguments()
    make = functools.partial(contestant, arguments)
    contestants = {
        (students, composition): make(students, composition)
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
