"""Times training steps of two CIFAR ResNets, with and without DA, against PyTorch.

python -m benchmarks.step_time --teacher resnet32x4 --student resnet8x4

DA augments every batch (p = 1). PyTorch's step is in `benchmarks/eager_torch.py`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import torch

from benchmarks import eager_torch, measure
from benchmarks.task import TaskSpec, create_steps, synthetic_dataset
from da_jax.models.network import PRECISIONS
from da_jax.training.compilation import configure_compiler


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_time", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument(
        "--precision", choices=list(PRECISIONS), default="tensorfloat32"
    )
    parser.add_argument("--steps", type=int, default=2, help="per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--compile", action="store_true", help="also time torch.compile"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def with_jax(spec: TaskSpec, steps: int) -> Callable[[], None]:
    """Returns a function that takes `steps` steps with this library."""
    take = create_steps(spec.build_run(spec.batch_size * steps))
    return lambda: jax.block_until_ready(take(steps))


def with_torch(spec: TaskSpec, steps: int, compiled: bool) -> Callable[[], None]:
    """Returns a function that takes as many steps with PyTorch."""
    examples = synthetic_dataset(spec.batch_size * steps).train
    trainer = eager_torch.create_trainer(spec, examples, compiled)

    def run() -> None:
        order = torch.randperm(len(trainer.images), device=trainer.images.device)
        for indices in order.split(spec.batch_size):
            loss = trainer.step(indices)
        loss.item()

    return run


def main() -> None:
    arguments = parse_arguments()
    configure_compiler()
    steps = arguments.steps
    contestants = {}
    for method, probability in (("KD", None), ("KD + DA", 1.0)):
        spec = TaskSpec(
            arguments.teacher,
            arguments.student,
            arguments.batch_size,
            precision=arguments.precision,
            probability=probability,
        )
        contestants[method, "PyTorch"] = with_torch(spec, steps, compiled=False)
        if arguments.compile:
            compiled = with_torch(spec, steps, compiled=True)
            contestants[method, "torch.compile"] = compiled
        contestants[method, "da-jax"] = with_jax(spec, steps)
    timings = measure.take_turns(contestants, arguments.rounds)
    rows = [
        (
            f"{arguments.teacher} → {arguments.student}",
            method,
            framework,
            timing.median / steps,
            timing.spread,
            timing.median / timings[method, "PyTorch"].median,
        )
        for (method, framework), timing in timings.items()
    ]
    header = ("pair", "method", "framework", "s a step", "spread", "over PyTorch")
    measure.report(header, rows, arguments.json)


if __name__ == "__main__":
    main()
