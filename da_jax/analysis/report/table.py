"""The results table: a row for runs that differ in nothing but their seeds."""

import dataclasses
import html
import json
from collections.abc import Sequence
from typing import Any

from da_jax.analysis.report.published import Published, published
from da_jax.analysis.report.runs import ReportedRun
from da_jax.config.record import RESUMABLE_FIELDS, flatten
from da_jax.training.results import accuracy, method_name, pair_name, summary

FIELDS_OF_A_RUN = {"name", "seed", "num_seeds", *RESUMABLE_FIELDS}
"""In which the runs of a row may differ."""

MOST_FIELDS = 3
"""How many of the fields in which it differs a row's method is told with."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs of one config, of different seeds; or one that isn't finished.

    Attributes:
      runs: one or more, in the order in which they were named.
      pair: teacher and student, and a data set that isn't CIFAR-100; of no run, its
        folder.
      teacher: the accuracy of its teacher (of each, if there are several), in %.
      method: and, where other rows have the same pair and method, in what it differs.
      n: how many students there are.
      best: `test_top1` of each at its best epoch, mean and `test_top1_std` (n − 1);
        with `validation_top1` where that chose the epoch. None before there is one.
      last: the same at its last epoch.
      published: for this pair and method.
      epochs: how many, and of how many if there are more to come.
      device: kind and number, where it is known.
      hours: of all the runs together.
      state: how far the run came and what is wrong with it.
    """

    runs: list[ReportedRun]
    pair: str
    teacher: str
    method: str
    n: int
    best: dict[str, Any] | None
    last: dict[str, Any] | None
    published: list[Published]
    epochs: str
    device: str
    hours: float | None
    state: str

    @property
    def config(self) -> dict[str, Any] | None:
        """Of its first run."""
        return self.runs[0].config

    @property
    def is_finished(self) -> bool:
        """Whether its runs are."""
        return self.runs[0].is_finished

    @property
    def label(self) -> str:
        """The method, and how far a run came that isn't finished."""
        return self.method if self.is_finished else f"{self.method} ({self.epochs})"


COLUMNS = (
    *("pair", "teacher", "method", "n", "best", "last", "published"),
    *("epochs", "device", "hours"),
)
"""Of the table; `state` follows where a run isn't finished and sound."""


def rows(runs: Sequence[ReportedRun]) -> list[Row]:
    """The table's rows: finished runs by config, every other run by itself."""
    groups: dict[str, list[ReportedRun]] = {}
    for run in runs:
        config = json.dumps(settings(run), sort_keys=True)
        own = f"{run.folder}: {config}"  # of a run that stays by itself
        if run.is_finished:
            others = groups.setdefault(config, [])
            same = _with_a_seed_of(run, others)
            if same is None:
                others.append(run)
                continue
            state = f"{run.state}; the same seed as {same.folder}"
            run = dataclasses.replace(run, state=state)
        groups[own] = [run]
    return _distinguished([_row(group) for group in groups.values()])


def _with_a_seed_of(run: ReportedRun, others: list[ReportedRun]) -> ReportedRun | None:
    """The one of `others` that has a seed of `run`: it would count twice."""
    seeds = {seed["seed"] for seed in run.seeds}
    for other in others:
        if seeds & {seed["seed"] for seed in other.seeds}:
            return other
    return None


def settings(run: ReportedRun) -> dict[str, Any]:
    """The fields of a run's config that the runs of its row have in common."""
    fields = dict(flatten(run.config or {}))
    return {name: fields[name] for name in fields if name not in FIELDS_OF_A_RUN}


def _row(runs: list[ReportedRun]) -> Row:
    seeds = [seed for run in runs for seed in run.seeds]
    config = runs[0].config
    teachers = [f"{top1:.2f}" for run in runs if (top1 := run.teacher_top1) is not None]
    hours = [run.hours for run in runs if run.hours is not None]
    pair, method, epochs = str(runs[0].folder), "–", "–"
    if config is not None:
        pair, method = pair_name(config), method_name(config)
        if config["dataset"] != "cifar100":
            pair += f" ({config['dataset']})"
        epochs = str(config["num_epochs"])
        if not runs[0].is_finished:
            history = runs[0].history
            epochs = f"{history[-1]['epoch'] if history else 0} of {epochs}"
    return Row(
        runs=runs,
        pair=pair,
        teacher=", ".join(dict.fromkeys(teachers)) or "–",
        method=method,
        n=len(seeds),
        best=_on_test_set(seeds, "best"),
        last=_on_test_set(seeds, "last"),
        published=published(config) if config else [],
        epochs=epochs,
        device="; ".join(dict.fromkeys(run.device for run in runs if run.device))
        or "–",
        hours=sum(hours) if hours else None,
        state=_state(runs, seeds),
    )


def _on_test_set(seeds: list[dict[str, Any]], which: str) -> dict[str, Any] | None:
    """The mean, unless the test set is still to be read."""
    figures = [seed[which] for seed in seeds]
    has_all = figures and all("test_top1" in of_seed for of_seed in figures)
    return summary(figures) if has_all else None


def _state(runs: list[ReportedRun], seeds: list[dict[str, Any]]) -> str:
    """One run's state; of several, finished, and what else there is to say of which."""
    if len(runs) == 1:
        states = [runs[0].state]
    else:
        told = [f"{run.folder}: {run.state}" for run in runs if run.state != "finished"]
        states = ["finished", *told]
    diverged = [
        f"seed {seed['seed']} diverged at step {seed['diverged_at']}"
        for seed in seeds
        if "diverged_at" in seed
    ]
    return "; ".join(states + diverged)


def _distinguished(table: list[Row]) -> list[Row]:
    """Rows of the same pair and method say in which fields they differ."""
    told = []
    for row in table:
        same = [
            settings(other.runs[0])
            for other in table
            if (other.pair, other.method) == (row.pair, row.method)
        ]
        own = settings(row.runs[0])
        differing = [
            f"{field}={own[field]}"
            for field in own
            if any(other.get(field) != own[field] for other in same)
        ]
        if len(differing) > MOST_FIELDS:
            differing[MOST_FIELDS:] = ["…"]
        if differing:
            method = f"{row.method}, {', '.join(differing)}"
            row = dataclasses.replace(row, method=method)
        told.append(row)
    return told


def cells(row: Row) -> dict[str, str]:
    """What stands in a row, by column."""
    return {
        "pair": row.pair,
        "teacher": row.teacher,
        "method": row.method,
        "n": str(row.n) if row.n else "–",
        "best": _best(row),
        "last": accuracy(row.last) if row.last else "–",
        "published": "; ".join(map(str, row.published)) or "–",
        "epochs": row.epochs,
        "device": row.device,
        "hours": f"{row.hours:.2f}" if row.hours is not None else "–",
        "state": row.state,
    }


def _best(row: Row) -> str:
    if row.best is None:
        return "–"
    is_held_out = "validation_top1" in row.best
    return accuracy(row.best) + " (by validation)" * is_held_out


def markdown(table: Sequence[Row]) -> str:
    """The table in Markdown, a line a row."""
    columns = list(COLUMNS)
    if any(row.state != "finished" for row in table):
        columns.append("state")
    lines = [columns, ["---"] * len(columns)]
    lines += [[_escaped(cells(row)[name]) for name in columns] for row in table]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escaped(text: str) -> str:
    text = html.escape(" ".join(text.split()), quote=False)
    return text.replace("\\", "\\\\").replace("|", "\\|")
