"""Reading of search folders, as `da-jax search` writes them. Doesn't import Optuna."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from da_jax.analysis.report.formats import column_texts, setting_text
from da_jax.analysis.report.json_tables import MOST_ROWS, Table
from da_jax.analysis.report.pictures import Picture, read_pictures
from da_jax.errors import reason

SPACE, TRIALS, BEST, PLOTS = "space.json", "trials.csv", "best_config.py", "plots"
"""What a search folder holds; the first tells it from a run's."""

BEST_TRIALS = 10
"""The number of trials that are shown unfolded."""

PICTURES = {
    "history.png": {
        "title": "Accuracy on held-out examples by trial",
        "alt": "Each trial's accuracy on held-out examples, and the best so far.",
    },
    "importance.png": {
        "title": "Importance of the hyperparameters",
        "alt": "The share of the accuracy's variance that each field explains.",
    },
    "landscape.png": {
        "title": "Accuracy over two hyperparameters",
        "alt": "A contour plot of the accuracy over two fields, with the trials.",
    },
    "epochs.png": {
        "title": "Accuracy of each trial by epoch",
        "alt": "A line for each trial; those that were stopped early are shorter.",
    },
}
"""The titles and descriptions of Optuna's plots."""


@dataclasses.dataclass(frozen=True)
class ReportedSearch:
    """The readable content of a search folder.

    Attributes:
      folder: the path that was given.
      settings: what the trials share, as names and values.
      space: the fields and their ranges.
      trials: the trials that have ended, best first; None before the first has.
      repeat: the command that repeats the best trial, if there is one.
      pictures: Optuna's plots.
      remarks: what couldn't be shown, and why.
    """

    folder: Path
    settings: list[tuple[str, str]]
    space: Table
    trials: Table | None
    repeat: str | None
    pictures: list[Picture]
    remarks: list[str]

    @property
    def best(self) -> Table | None:
        """The best trials."""
        if self.trials is None:
            return None
        return dataclasses.replace(self.trials, rows=self.trials.rows[:BEST_TRIALS])


def is_search_folder(folder: Path) -> bool:
    """Returns whether `folder` belongs to a search."""
    return (folder / SPACE).is_file()


def read_search(folder: Path) -> ReportedSearch:
    """Reads the search in `folder`; damaged files become remarks."""
    remarks: list[str] = []
    space = _space(_read_json(folder / SPACE, remarks))
    config = _read_json(folder / "config.json", remarks)
    trials = _trials(folder / TRIALS, remarks)
    best = folder / BEST
    return ReportedSearch(
        folder=folder,
        settings=list(_settings(config, trials)),
        space=space,
        trials=trials,
        repeat=f"da-jax train --config={best}" if best.is_file() else None,
        pictures=list(read_pictures(folder / PLOTS, PICTURES, remarks)),
        remarks=remarks,
    )


def _read_json(file: Path, remarks: list[str]) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        remarks.append(f"{file.name} can't be read: {reason(error)}")
        return {}


def _settings(
    config: Mapping[str, Any], trials: Table | None
) -> Iterator[tuple[str, str]]:
    teacher = config.get("teacher")
    model = teacher.get("model") if isinstance(teacher, Mapping) else None
    for name, value in (
        ("Teacher", model),
        ("Student", config.get("student")),
        ("Data set", config.get("dataset")),
        ("Held-out examples", config.get("validation_size")),
        ("Epochs", config.get("num_epochs")),
        ("Students per trial", config.get("num_seeds")),
    ):
        if value:
            yield name, setting_text(value)
    if trials is not None:
        early = sum("early" in row for row in trials.rows)
        stopped = f", {early} of them stopped early" if early else ""
        yield "Trials", f"{len(trials.rows)}{stopped}"


def _space(tables: Mapping[str, Any]) -> Table:
    rows = [[str(field), _values(table)] for field, table in tables.items()]
    return Table("Search space", ["Field", "Values"], rows[:MOST_ROWS])


def _values(table: Any) -> str:
    """Describes the range or the choices of a field."""
    if not isinstance(table, Mapping):
        return setting_text(table)
    if "choices" in table:
        return setting_text(table["choices"])
    low, high = (setting_text(table.get(end, "?")) for end in ("low", "high"))
    return f"{low} to {high}" + ", on a log scale" * bool(table.get("log"))


def _trials(file: Path, remarks: list[str]) -> Table | None:
    """Reads the table of trials; None if there is none yet."""
    if not file.exists():
        return None
    try:
        header, *rows = csv.reader(io.StringIO(file.read_text()))
        columns = list(zip(*rows, strict=True)) or [()] * len(header)
        if len(columns) != len(header):
            raise ValueError("its rows have another number of cells than its header")
    except (OSError, ValueError, csv.Error) as error:
        remarks.append(f"{file.name} can't be read: {reason(error)}")
        return None
    texts = [column_texts([_number(cell) for cell in column]) for column in columns]
    shown = [list(row) for row in zip(*texts, strict=True)][:MOST_ROWS]
    names = [
        name[:1].upper() + name[1:] if "." not in name else name for name in header
    ]
    return Table("Trials", names, shown, is_cut=len(rows) > MOST_ROWS)


def _number(cell: str) -> int | float | str:
    """Reads a number; returns anything else as it is."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
