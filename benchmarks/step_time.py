"""Training steps of a pair of CIFAR ResNets, with and without DA, against PyTorch.

python -m benchmarks.step_time --teacher resnet32x4 --student resnet8x4

DA is on for every batch (p = 1). PyTorch's step is `benchmarks/eager_torch.py`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import torch

from benchmarks import eager_torch, measure
from benchmarks.problem import Setting, create_steps, synthetic_dataset
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
    parser.add_argument("--steps", type=int, default=2, help="a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--compile", action="store_true", help="and against torch.compile"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def with_jax(setting: Setting, steps: int) -> Callable[[], None]:
    """Some steps of ours."""
    take = create_steps(setting.create_run(setting.batch_size * steps))
    return lambda: jax.block_until_ready(take(steps))


def with_torch(setting: Setting, steps: int, compiled: bool) -> Callable[[], None]:
    """The same number of PyTorch's."""
    examples = synthetic_dataset(setting.batch_size * steps).train
    trainer = eager_torch.create_trainer(setting, examples, compiled)

    def run() -> None:
        order = torch.randperm(len(trainer.images), device=trainer.images.device)
        for indices in order.split(setting.batch_size):
            loss = trainer.step(indices)
        loss.item()

    return run


def main() -> None:
    arguments = parse_arguments()
    configure_compiler()
    steps = arguments.steps
    contestants = {}
    for method, probability in (("KD", None), ("KD + DA", 1.0)):
        setting = Setting(
            arguments.teacher,
            arguments.student,
            arguments.batch_size,
            precision=arguments.precision,
            probability=probability,
        )
        contestants[method, "PyTorch"] = with_torch(setting, steps, compiled=False)
        if arguments.compile:
            compiled = with_torch(setting, steps, compiled=True)
            contestants[method, "torch.compile"] = compiled
        contestants[method, "da-jax"] = with_jax(setting, steps)
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
