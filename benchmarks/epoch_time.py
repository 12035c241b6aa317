"""Times epochs of a pair of CIFAR ResNets, with FLOP/s and memory, against PyTorch.

python -m benchmarks.epoch_time --teacher resnet32x4 --student resnet8x4

One option at a time differs from the base: batch 64, one student, DA at p = 0.7374,
TF32. The defaults suit a GPU; use fewer --images on a CPU.
"""

import argparse
import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import torch

from benchmarks import eager_torch, measure
from benchmarks.task import TaskSpec, step_memory, synthetic_dataset
from da_jax.models.network import PRECISIONS
from da_jax.training.callbacks import Callbacks
from da_jax.training.compilation import configure_compiler
from da_jax.training.epoch import Trainer

PEAKS = {
    "NVIDIA A100": {"float32": 19.5, "tensorfloat32": 156.0, "bfloat16": 312.0},
    "NVIDIA H100": {"float32": 67.0, "tensorfloat32": 495.0, "bfloat16": 989.0},
    "NVIDIA H200": {"float32": 67.0, "tensorfloat32": 495.0, "bfloat16": 989.0},
    "NVIDIA GeForce RTX 4090": {
        "float32": 82.6,
        "tensorfloat32": 82.6,
        "bfloat16": 165.2,
    },
}
"""Peak dense TFLOP/s by the start of a device's name, from data sheets (SXM)."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.epoch_time", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=[256])
    parser.add_argument("--students", type=int, nargs="*", default=[5])
    parser.add_argument("--probabilities", type=float, nargs="*", default=[1.0])
    parser.add_argument(
        "--precisions", choices=list(PRECISIONS), nargs="*", default=["bfloat16"]
    )
    parser.add_argument("--images", type=int, default=50_000, help="per epoch")
    parser.add_argument("--test_images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def specs(arguments: argparse.Namespace) -> list[TaskSpec]:
    """Returns the base and its variants; each of them also without DA."""
    base = TaskSpec(arguments.teacher, arguments.student)
    vary = functools.partial(dataclasses.replace, base)
    with_da = [
        base,
        *(vary(precision=precision) for precision in arguments.precisions),
        *(vary(batch_size=batch_size) for batch_size in arguments.batch_sizes),
        *(vary(students=students) for students in arguments.students),
    ]
    without = [dataclasses.replace(spec, probability=None) for spec in with_da]
    probabilities = [vary(probability=value) for value in arguments.probabilities]
    return [*with_da, *without, *probabilities]


def with_jax(spec: TaskSpec, images: int, test_images: int) -> Callable[[], None]:
    """Returns a function that trains and evaluates for an epoch with this library."""
    run = spec.build_run(images, test_images)
    states = run.steps.create_train_states(0, run.hyperparameters)
    trainer = Trainer(run, states, 0, Callbacks())
    numbers = itertools.count()

    def train_epoch() -> None:
        epoch = trainer.start_epoch(next(numbers), last_seconds=0.0)
        assert epoch is not None, "nothing stops it"
        jax.block_until_ready((epoch.states, epoch.evaluated))

    return train_epoch


def with_torch(
    spec: TaskSpec, images: int, test_images: int, compiled: bool = False
) -> Callable[[], None]:
    """Returns the same with PyTorch, compiled by torch.compile if `compiled`."""
    dataset = synthetic_dataset(images, test_images)
    trainer = eager_torch.create_trainer(spec, dataset.train, compiled)
    test = eager_torch.on_device(dataset.test)

    def train_epoch() -> None:
        order = torch.randperm(len(trainer.images), device=trainer.images.device)
        whole = len(order) // spec.batch_size * spec.batch_size
        for indices in order[:whole].split(spec.batch_size):
            trainer.step(indices)
        accuracies = [
            trainer.accuracy(*batch)
            for batch in zip(*(part.split(500) for part in test), strict=True)
        ]
        torch.stack(accuracies).mean().item()

    return train_epoch


def step_flops(spec: TaskSpec) -> float:
    """Returns the mean FLOPs of a training step, by XLA's cost analysis."""
    without = _flops(dataclasses.replace(spec, probability=None))
    if not spec.probability:
        return without
    # A loop's body is counted once, however often it runs.
    always = _flops(dataclasses.replace(spec, probability=1.0))
    return without + spec.probability * (always - without)


@functools.cache
def _flops(spec: TaskSpec) -> float:
    cost = spec.lower_train_step(spec.batch_size).cost_analysis()
    assert cost is not None, "XLA analyses every lowered program"
    return cost["flops"]


def row(
    spec: TaskSpec,
    framework: str,
    timing: measure.Timing,
    base: measure.Timing,
    arguments: argparse.Namespace,
) -> tuple[Any, ...]:
    """Returns a row of the table."""
    steps = arguments.images // spec.batch_size
    flops = step_flops(spec) * steps / timing.median
    peaks = [peak for name, peak in PEAKS.items() if device_name().startswith(name)]
    share = flops / 1e12 / peaks[0][spec.precision] if peaks else "unknown"
    memory: float | str = "not measured"
    if framework == "da-jax":
        program = spec  # the same for every probability
        if spec.probability is not None:
            program = dataclasses.replace(spec, probability=1.0)
        memory = step_memory(program, arguments.images) / 1e9
    return (
        framework,
        spec.precision,
        spec.batch_size,
        spec.students,
        "none" if spec.probability is None else spec.probability,
        timing.median,
        timing.spread,
        spec.students * steps * spec.batch_size / timing.median,
        flops / 1e12,
        share,
        memory,
        timing.median / base.median,
    )


def device_name() -> str:
    return jax.devices()[0].device_kind


HEADER = (
    "framework",
    "precision",
    "batch",
    "students",
    "DA's p",
    "s an epoch",
    "spread",
    "images/s",
    "TFLOP/s",
    "of peak",
    "GB",
    "over the first",
)


def main() -> None:
    arguments = parse_arguments()
    configure_compiler()
    contestants = {}
    for spec in specs(arguments):
        sizes = (arguments.images, arguments.test_images)
        contestants[spec, "da-jax"] = with_jax(spec, *sizes)
        if spec.students == 1 and spec.batch_size == 64:
            contestants[spec, "PyTorch"] = with_torch(spec, *sizes)
    timings = measure.take_turns(contestants, arguments.rounds)
    first = next(iter(timings.values()))
    rows = [
        row(spec, framework, timing, first, arguments)
        for (spec, framework), timing in timings.items()
    ]
    measure.report(HEADER, rows, arguments.json)


if __name__ == "__main__":
    main()
