"""Whole epochs of a pair of CIFAR ResNets: speed, FLOPs, memory, and against PyTorch.

python -m benchmarks.epoch_time --teacher resnet32x4 --student resnet8x4

Around one setting (batch 64, one student, DA at p = 0.7374, TF32), one thing is changed
at a time. The defaults are for a GPU; a CPU wants fewer --images.
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
from tqdm import tqdm

from benchmarks import eager_torch, measure
from benchmarks.problem import Setting, bytes_of_a_step, synthetic_dataset
from da_jax.models.network import PRECISIONS
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
"""Dense TFLOP/s by the start of a device's name, from its data sheet (SXM)."""


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
    parser.add_argument("--images", type=int, default=50_000, help="an epoch")
    parser.add_argument("--test_images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def settings(arguments: argparse.Namespace) -> list[Setting]:
    """The base, and what differs from it in one thing; each also without DA."""
    base = Setting(arguments.teacher, arguments.student)
    vary = functools.partial(dataclasses.replace, base)
    with_da = [
        base,
        *(vary(precision=precision) for precision in arguments.precisions),
        *(vary(batch_size=batch_size) for batch_size in arguments.batch_sizes),
        *(vary(students=students) for students in arguments.students),
    ]
    without = [dataclasses.replace(setting, probability=None) for setting in with_da]
    probabilities = [vary(probability=value) for value in arguments.probabilities]
    return [*with_da, *without, *probabilities]


def with_jax(setting: Setting, images: int, test_images: int) -> Callable[[], None]:
    """An epoch of ours, evaluation included."""
    run = setting.create_run(images, test_images)
    states = run.programs.create_train_states(0)
    trainer = Trainer(run, states, 0, tqdm(disable=True), say=lambda line: None)
    numbers = itertools.count()

    def epoch() -> None:
        jax.block_until_ready(trainer.start_epoch(next(numbers), last_seconds=0.0))

    return epoch


def with_torch(
    setting: Setting, images: int, test_images: int, compiled: bool = False
) -> Callable[[], None]:
    """An epoch of PyTorch's, evaluation included; `compiled` by torch.compile."""
    dataset = synthetic_dataset(images, test_images)
    trainer = eager_torch.create_trainer(setting, dataset.train, compiled)
    test = eager_torch.on_device(dataset.test)

    def epoch() -> None:
        order = torch.randperm(len(trainer.images), device=trainer.images.device)
        whole = len(order) // setting.batch_size * setting.batch_size
        for indices in order[:whole].split(setting.batch_size):
            trainer.step(indices)
        accuracies = [
            trainer.accuracy(*batch)
            for batch in zip(*(part.split(500) for part in test), strict=True)
        ]
        torch.stack(accuracies).mean().item()

    return epoch


def flops_of_a_step(setting: Setting) -> float:
    """What a training step takes on average, by XLA's analysis of the program."""
    without = _flops(dataclasses.replace(setting, probability=None))
    if not setting.probability:
        return without
    # Of a cond it is the dearer branch that counts, whatever the probability.
    always = _flops(dataclasses.replace(setting, probability=1.0))
    return without + setting.probability * (always - without)


@functools.cache
def _flops(setting: Setting) -> float:
    cost = setting.lower_train_step(setting.batch_size).cost_analysis()
    assert cost is not None, "a program that wasn't optimised can be analysed"
    return cost["flops"]


def row(
    setting: Setting,
    framework: str,
    timing: measure.Timing,
    base: measure.Timing,
    arguments: argparse.Namespace,
) -> tuple[Any, ...]:
    """A line of the table."""
    steps = arguments.images // setting.batch_size
    flops = flops_of_a_step(setting) * steps / timing.median
    peaks = [peak for name, peak in PEAKS.items() if device_name().startswith(name)]
    share = flops / 1e12 / peaks[0][setting.precision] if peaks else "unknown"
    memory: float | str = "not measured"
    if framework == "da-jax":
        program = setting  # which is the same for every probability
        if setting.probability is not None:
            program = dataclasses.replace(setting, probability=1.0)
        memory = bytes_of_a_step(program, arguments.images) / 1e9
    return (
        framework,
        setting.precision,
        setting.batch_size,
        setting.students,
        "none" if setting.probability is None else setting.probability,
        timing.median,
        timing.spread,
        setting.students * steps * setting.batch_size / timing.median,
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
    for setting in settings(arguments):
        sizes = (arguments.images, arguments.test_images)
        contestants[setting, "da-jax"] = with_jax(setting, *sizes)
        if setting.students == 1 and setting.batch_size == 64:
            contestants[setting, "PyTorch"] = with_torch(setting, *sizes)
    timings = measure.take_turns(contestants, arguments.rounds)
    first = next(iter(timings.values()))
    rows = [
        row(setting, framework, timing, first, arguments)
        for (setting, framework), timing in timings.items()
    ]
    measure.report(HEADER, rows, arguments.json)


if __name__ == "__main__":
    main()
