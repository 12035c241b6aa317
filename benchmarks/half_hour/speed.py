"""Stage 2: time and memory on this device, compared with PyTorch."""

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import torch

from benchmarks import epoch_time, seeds, step_time
from benchmarks.task import TaskSpec

METHODS: dict[str, float | None] = {"KD": None, "KD + DA": 1.0}
"""Probability of augmenting a batch; a timed step of DA augments every batch."""

Contestant = Callable[[], None]
"""The timed function; returns when its work is done."""


def step_times(
    teacher: str,
    student: str,
    precision: str,
    batch_size: int,
    steps: int,
    rounds: int,
    frameworks: list[str],
) -> list[dict[str, Any]]:
    """Times a training step of each framework, for KD and KD + DA."""
    rows = []
    for method, probability in METHODS.items():
        spec = TaskSpec(
            teacher,
            student,
            batch_size,
            precision=precision,
            probability=probability,
        )
        make = {
            "da-jax": partial(step_time.with_jax, spec, steps),
            "PyTorch": partial(step_time.with_torch, spec, steps, False),
            "torch.compile": partial(step_time.with_torch, spec, steps, True),
        }
        measured = _measure({name: make[name] for name in frameworks}, rounds, steps)
        rows += [{"method": method, **row} for row in measured]
    return rows


def epoch_times(
    teacher: str,
    student: str,
    precision: str,
    batch_size: int,
    images: int,
    test_images: int,
    rounds: int,
) -> list[dict[str, Any]]:
    """Times an epoch with its evaluation, with DA at p = 0.7374."""
    rows = []
    sizes = (images, test_images)
    for method, probability in (("KD", None), ("KD + DA", 0.7374)):
        spec = TaskSpec(
            teacher,
            student,
            batch_size,
            precision=precision,
            probability=probability,
        )
        make = {
            "da-jax": partial(epoch_time.with_jax, spec, *sizes),
            "PyTorch": partial(epoch_time.with_torch, spec, *sizes, False),
            "torch.compile": partial(epoch_time.with_torch, spec, *sizes, True),
        }
        measured = _measure(make, rounds, 1)
        rows += [{"method": method, **row} for row in measured]
    return rows


def student_times(
    teacher: str,
    student: str,
    batch_size: int,
    counts: list[int],
    composition: str,
    steps: int,
    rounds: int,
) -> list[dict[str, Any]]:
    """Times a step of several students in one program, with DA at p = 0.7374."""
    rows = []
    for count in counts:
        spec = TaskSpec(teacher, student, batch_size, count)
        make = {"da-jax": partial(seeds.contestant, spec, steps, composition)}
        measured = _measure(make, rounds, steps)
        rows += [
            {"composition": composition, "students": count, **row} for row in measured
        ]
    return rows


def _measure(
    make: Mapping[str, Callable[[], Contestant]], rounds: int, steps: int
) -> list[dict[str, Any]]:
    """Times contestants in turn; if one fails, the others are still timed."""
    ready: dict[str, Contestant] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, create in make.items():
        start = time.perf_counter()
        try:
            contestant = create()
            contestant()
        except Exception as error:  # such as a compiler's, a driver's, or out of memory
            rows[name] = {
                "framework": name,
                "error": f"{type(error).__name__}: {error}"[:500],
            }
            continue
        ready[name] = contestant
        rows[name] = {
            "framework": name,
            "start_seconds": time.perf_counter() - start,
            "peak_bytes_so_far": _peak_bytes(name),
        }
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _, (name, contestant) in itertools.product(range(rounds), ready.items()):
        start = time.perf_counter()
        contestant()
        seconds[name].append((time.perf_counter() - start) / steps)
    for name, values in seconds.items():
        rows[name] |= {"seconds": statistics.median(values), "rounds": values}
    ready.clear()
    gc.collect()
    return list(rows.values())


def _peak_bytes(framework: str) -> int | None:
    """Returns the framework's peak memory on the device so far, if known."""
    if framework == "da-jax":
        stats = jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else None
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
