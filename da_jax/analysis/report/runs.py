"""Reading of run folders: finished, unfinished, damaged or missing."""

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
"""The files of a run; a folder with one of them is a run folder."""


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """The readable content of a run folder.

    Attributes:
      folder: the path that was given.
      state: the progress of the run and any damage, in words.
      is_finished: whether the results can be read.
      config: the content of `config.json`, or None if it can't be read.
      history: the readable records of epochs, in order.
      results: the content of `results.json`, or None if it can't be read.
    """

    folder: Path
    state: str
    is_finished: bool = False
    config: dict[str, Any] | None = None
    history: list[Record] = dataclasses.field(default_factory=list)
    results: dict[str, Any] | None = None

    @property
    def seeds(self) -> list[dict[str, Any]]:
        """The best and last metrics of each student so far, as in `results.json`."""
        if self.results is not None:
            return list(self.results["seeds"])
        if self.config is None or not self.history:
            return []
        return seed_results(self.config["seed"], self.history)

    @property
    def teacher_top1(self) -> float | None:
        """The teacher's test accuracy in %, if it was measured."""
        teacher = (self.results or {}).get("teacher") or {}
        return teacher.get("test_top1")

    @property
    def seconds_per_epoch(self) -> float | None:
        """The median over epochs, training and evaluation together."""
        seconds = [record["seconds"] for record in self.history]
        return statistics.median(seconds) if seconds else None

    @property
    def images_per_second(self) -> float | None:
        """Training images per second, over all seeds; a short batch counts as full."""
        if self.config is None or not self.seconds_per_epoch:
            return None
        steps = self.history[-1]["step"] / self.history[-1]["epoch"]
        images = steps * self.config["batch_size"] * self.config["num_seeds"]
        return float(images / self.seconds_per_epoch)

    @property
    def hours(self) -> float | None:
        """The duration of all epochs."""
        if not self.history:
            return None
        return float(sum(record["seconds"] for record in self.history)) / 3600

    @property
    def device(self) -> str | None:
        """The kind and number of devices and, for CPUs, the number of cores."""
        if self.results is None:
            return None
        device = self.results["device"]
        kind, count, cores = device["kind"], device["count"], device.get("cores")
        name = str(kind) if count == 1 else f"{count} × {kind}"
        return f"{name}, {cores} core{'s' * (cores != 1)}" if cores else name

    @property
    def versions(self) -> dict[str, str]:
        """The versions of Python and the packages."""
        return dict(self.results["versions"]) if self.results else {}


def read_runs(folders: Iterable[Path]) -> list[ReportedRun]:
    """Reads the runs in `folders`; duplicates are skipped."""
    distinct: dict[Path, Path] = {}
    for folder in folders:
        distinct.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in distinct.values()]


def is_run_folder(folder: Path) -> bool:
    """Returns whether `folder` has a file of a run."""
    return any((folder / name).exists() for name in FILES)


def read_run(folder: Path) -> ReportedRun:
    """Reads the run in `folder`; damage is reported in `state`, not raised."""
    config_file, metrics_file, results_file = (folder / name for name in FILES)
    if not folder.is_dir():
        return ReportedRun(folder, "no run here: no such folder")
    if not is_run_folder(folder):
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
    """Describes the progress of an unfinished run."""
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
        raise DamagedError(f"{path.name}: {_damage(error)}") from error
    return dict(content)


def _read_history(path: Path, config: dict[str, Any]) -> tuple[list[Record], list[str]]:
    """Reads the records, sorted by epoch; returns descriptions of damaged lines too."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path.name}: {_damage(error)}"]
    records: dict[int, Record] = {}
    damaged: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            check_record(record, config)
        except (ValueError, RecursionError) as error:
            damaged.append(f"{path.name}, line {number}: {_damage(error)}")
        else:
            records[record["epoch"]] = record
    if len(damaged) > 3:
        damaged[3:] = [f"and {len(damaged) - 3} more of its lines"]
    return [records[epoch] for epoch in sorted(records)], damaged


def _damage(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or reason(error)
    return reason(error) if isinstance(error, DamagedError) else "no JSON"
