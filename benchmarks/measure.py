"""Interleaved timing of several contestants, and tables of the results."""

import dataclasses
import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

Name = TypeVar("Name", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds that a contestant took in each round."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the interquartile range, divided by the median."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return (third - first) / 2 / self.median


def take_turns(
    contestants: Mapping[Name, Callable[[], None]], rounds: int
) -> dict[Name, Timing]:
    """Times the contestants in turn, `rounds` times.

    Interleaving spreads a slow phase of the machine over all of them. Each runs once
    before, untimed.

    Args:
      contestants: functions by name; each returns when its work is done.
      rounds: how often each is timed.

    Returns:
      The timings by name.
    """
    for run in contestants.values():
        run()
    seconds: dict[Name, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(values) for name, values in seconds.items()}


def environment() -> dict[str, Any]:
    """Returns the device and the versions of the packages that determine speed."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "flax", "optax")
    return {
        "device": f"{jax.device_count()} × {device.device_kind}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Formats a Markdown table; floats have three significant digits."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def report(
    header: Sequence[str], rows: Sequence[Sequence[Any]], file: Path | None
) -> None:
    """Prints the table and the environment, and writes both to `file` if given."""
    print(table(header, rows))
    print(environment())
    if file is not None:
        results = [dict(zip(header, row, strict=True)) for row in rows]
        content = {**environment(), "results": results}
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
