"""Run folders as a report finds them: finished, half-way, damaged or not there."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from da_jax.analysis.report.checks import (
    DamagedError,
    check_config,
    check_record,
    check_results,
)
from da_jax.errors import reason
from da_jax.training.metrics import Record
from da_jax.training.results import seed_results

FILES = ("config.json", "metrics.jsonl", "results.json")
"""What a run leaves in its folder; a folder with one of them is a run's."""


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """What is left of a run, or of a folder that was said to be one.

    Attributes:
      folder: as it was named.
      state: how far the run came and what is damaged, for people.
      is_finished: whether there are its results.
      config: the run's, or None where it can't be read.
      history: the records of its epochs that can be read, in order.
      results: what `results.json` holds, if it does.
    """

    folder: Path
    state: str
    is_finished: bool = False
    config: dict[str, Any] | None = None
    history: list[Record] = dataclasses.field(default_factory=list)
    results: dict[str, Any] | None = None

    @property
    def seeds(self) -> list[dict[str, Any]]:
        """The best and last figures of each student, so far; as `results.json` has."""
        if self.results is not None:
            return list(self.results["seeds"])
        if self.config is None or not self.history:
            return []
        return seed_results(self.config["seed"], self.history)

    @property
    def teacher_top1(self) -> float | None:
        """The teacher's accuracy on the test set, in %, where it was measured."""
        teacher = (self.results or {}).get("teacher") or {}
        return teacher.get("test_top1")

    @property
    def seconds_per_epoch(self) -> float | None:
        """The median, of training and evaluating."""
        seconds = [record["seconds"] for record in self.history]
        return statistics.median(seconds) if seconds else None

    @property
    def images_per_second(self) -> float | None:
        """Images learned from, over all seeds; a short last batch counts as whole."""
        if self.config is None or not self.seconds_per_epoch:
            return None
        steps = self.history[-1]["step"] / self.history[-1]["epoch"]
        images = steps * self.config["batch_size"] * self.config["num_seeds"]
        return float(images / self.seconds_per_epoch)

    @property
    def hours(self) -> float | None:
        """Of all epochs together."""
        if not self.history:
            return None
        return float(sum(record["seconds"] for record in self.history)) / 3600

    @property
    def device(self) -> str | None:
        """Kind, of several their number, and of CPUs the cores, where known."""
        if self.results is None:
            return None
        device = self.results["device"]
        kind, count, cores = device["kind"], device["count"], device.get("cores")
        name = str(kind) if count == 1 else f"{count} × {kind}"
        return f"{name}, {cores} core{'s' * (cores != 1)}" if cores else name

    @property
    def versions(self) -> dict[str, str]:
        """Of Python and the packages, by name."""
        return dict(self.results["versions"]) if self.results else {}


def read_runs(folders: Iterable[Path]) -> list[ReportedRun]:
    """The runs in `folders`, each folder once, in their order."""
    distinct: dict[Path, Path] = {}
    for folder in folders:
        distinct.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in distinct.values()]


def is_of_a_run(folder: Path) -> bool:
    """Whether anything of a run is in `folder`."""
    return any((folder / name).exists() for name in FILES)


def read_run(folder: Path) -> ReportedRun:
    """The run in `folder`; whatever is there, this raises nothing."""
    config_file, metrics_file, results_file = (folder / name for name in FILES)
    if not folder.is_dir():
        return ReportedRun(folder, "no run here: no such folder")
    if not is_of_a_run(folder):
        return ReportedRun(folder, "no run here")
    try:
        config = _read(config_file, check_config)
    except DamagedError as error:
        return ReportedRun(folder, f"damaged: {error}")
    history, damage = _read_history(metrics_file, config)
    results = None
    if results_file.exists():
        try:
            results = _read(results_file, check_results)
        except DamagedError as error:
            damage.append(str(error))
    state = "finished" if results else _progress(config, history)
    if damage:
        state += f"; damaged: {'; '.join(damage)}"
    return ReportedRun(folder, state, results is not None, config, history, results)


def _progress(config: Mapping[str, Any], history: list[Record]) -> str:
    """How far a run without results came."""
    if not history:
        return f"epoch 0 of {config['num_epochs']}"
    last = history[-1]
    if len(last.get("diverged", {})) == config["num_seeds"]:
        return f"diverged in epoch {last['epoch']} of {config['num_epochs']}"
    return f"epoch {last['epoch']} of {config['num_epochs']}"


def _read(path: Path, check: Callable[[Any], None]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        check(content)
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path.name}: {_why(error)}") from error
    return dict(content)


def _read_history(path: Path, config: dict[str, Any]) -> tuple[list[Record], list[str]]:
    """The records that can be read, by epoch, and what is wrong with the others."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path.name}: {_why(error)}"]
    records: dict[int, Record] = {}
    damaged: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            check_record(record, config)
        except (ValueError, RecursionError) as error:
            damaged.append(f"{path.name}, line {number}: {_why(error)}")
        else:
            records[record["epoch"]] = record
    if len(damaged) > 3:
        damaged[3:] = [f"and {len(damaged) - 3} more of its lines"]
    return [records[epoch] for epoch in sorted(records)], damaged


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or reason(error)
    return reason(error) if isinstance(error, DamagedError) else "no JSON"
