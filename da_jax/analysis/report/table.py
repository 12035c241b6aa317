"""The results table: runs that differ only in their seeds share a row."""

import dataclasses
import html
import json
from collections.abc import Sequence
from typing import Any

from da_jax.analysis.report.published import Published, published
from da_jax.analysis.report.runs import ReportedRun
from da_jax.analysis.report.settings import naming, settings
from da_jax.training.results import accuracy, method_name, pair_name, summary


@dataclasses.dataclass(frozen=True)
class Row:
    """Finished runs of one config with different seeds, or one unfinished run.

    Attributes:
      runs: one or more, in the order in which they were given.
      pair: teacher and student, and the data set if it isn't CIFAR-100; the folder if
        the config can't be read.
      teacher: the accuracy of the teacher (of each, if there are several), in %.
      plain_method: the method and the augmentation.
      n: the number of students.
      best: `test_top1`, the mean over students at their best epochs, and
        `test_top1_std` (n − 1); with `validation_top1` if that selected the epochs.
        None if there is no test accuracy yet.
      last: the same at the last epoch.
      published: for this pair and method.
      epochs: their number; "n of N" for an unfinished run.
      device: kind and number, if known.
      hours: of all the runs together.
      state: the progress and any damage, in words.
      differing: the settings that tell it from the other rows of its pair.
    """

    runs: list[ReportedRun]
    pair: str
    teacher: str
    plain_method: str
    n: int
    best: dict[str, Any] | None
    last: dict[str, Any] | None
    published: list[Published]
    epochs: str
    device: str
    hours: float | None
    state: str
    differing: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The method and the settings that tell the row from others of its pair."""
        return ", ".join((self.plain_method, *self.differing))

    @property
    def config(self) -> dict[str, Any] | None:
        """The config of its first run."""
        return self.runs[0].config

    @property
    def is_finished(self) -> bool:
        """Whether its runs are finished."""
        return self.runs[0].is_finished

    @property
    def label(self) -> str:
        """The method and, for an unfinished run, the epochs."""
        return self.method if self.is_finished else f"{self.method} ({self.epochs})"


COLUMNS = (
    *("pair", "teacher", "method", "n", "best", "last", "published"),
    *("epochs", "device", "hours"),
)
"""Of the Markdown table; `state` follows if a run is unfinished or damaged."""


def rows(runs: Sequence[ReportedRun]) -> list[Row]:
    """Groups finished runs by config; every other run has its own row."""
    groups: dict[str, list[ReportedRun]] = {}
    for run in runs:
        config = json.dumps(settings(run), sort_keys=True)
        own = f"{run.folder}: {config}"  # the key of a run with its own row
        if run.is_finished:
            others = groups.setdefault(config, [])
            same = _find_same_seed(run, others)
            if same is None:
                others.append(run)
                continue
            state = f"{run.state}; the same seed as {same.folder}"
            run = dataclasses.replace(run, state=state)
        groups[own] = [run]
    return _with_differing_fields([_row(group) for group in groups.values()])


def _find_same_seed(run: ReportedRun, others: list[ReportedRun]) -> ReportedRun | None:
    """Returns a run of `others` with a seed of `run`, which would count twice."""
    seeds = {seed["seed"] for seed in run.seeds}
    for other in others:
        if seeds & {seed["seed"] for seed in other.seeds}:
            return other
    return None


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
        plain_method=method,
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
    """Averages over students, if all have test accuracies."""
    figures = [seed[which] for seed in seeds]
    has_all = figures and all("test_top1" in of_seed for of_seed in figures)
    return summary(figures) if has_all else None


def _state(runs: list[ReportedRun], seeds: list[dict[str, Any]]) -> str:
    """Joins the runs' states and the students that diverged."""
    if len(runs) == 1:
        states = [runs[0].state]
    else:
        damaged = [run for run in runs if run.state != "finished"]
        states = ["finished", *(f"{run.folder}: {run.state}" for run in damaged)]
    diverged = [
        f"seed {seed['seed']} diverged at step {seed['diverged_at']}"
        for seed in seeds
        if "diverged_at" in seed
    ]
    return "; ".join(states + diverged)


def _with_differing_fields(table: list[Row]) -> list[Row]:
    """Adds to rows the settings in which those of a pair differ."""
    own = {id(row): settings(row.runs[0]) for row in table}
    return [
        dataclasses.replace(
            row,
            differing=tuple(
                naming(
                    own[id(row)],
                    [own[id(other)] for other in table if other.pair == row.pair],
                )
            ),
        )
        for row in table
    ]


def cells(row: Row) -> dict[str, str]:
    """Returns the text of a row's cells by column."""
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
    """Formats the table as Markdown."""
    columns = list(COLUMNS)
    if any(row.state != "finished" for row in table):
        columns.append("state")
    lines = [columns, ["---"] * len(columns)]
    lines += [[escaped(cells(row)[name]) for name in columns] for row in table]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escaped(text: str) -> str:
    """Escapes a cell of a Markdown table."""
    text = html.escape(" ".join(text.split()), quote=False)
    return text.replace("\\", "\\\\").replace("|", "\\|")
