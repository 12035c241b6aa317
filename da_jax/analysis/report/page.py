"""The report as one self-contained HTML page."""

import base64
import dataclasses
import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

import da_jax
from da_jax.analysis.report.chart import style
from da_jax.analysis.report.curves import charts, row_colors
from da_jax.analysis.report.pictures import attachments
from da_jax.analysis.report.published import SOURCES
from da_jax.analysis.report.rendering import ENVIRONMENT, source
from da_jax.analysis.report.runs import ReportedRun
from da_jax.analysis.report.table import Row, cells, settings
from da_jax.config.record import flatten

HEADINGS = {
    "pair": "Teacher → student",
    "teacher": "Teacher, %",
    "method": "Method",
    "n": "n",
    "best": "Best, %",
    "last": "Last, %",
    "published": "Published, %",
    "epochs": "Epochs",
    "device": "Device",
    "hours": "Hours",
    "state": "State",
}
"""The columns of the results table, and their headings."""

NUMBERS = ("teacher", "n", "best", "last", "published", "epochs", "hours")
"""The columns that are sorted as numbers."""

PACKAGES_SHOWN = ("da-jax", "jax", "jaxlib", "flax", "python")
"""The versions in the table of runs; `results.json` has more."""


@dataclasses.dataclass(frozen=True)
class Gain:
    """Two rows that differ in nothing but the augmentation.

    Attributes:
      row: with an augmentation.
      baseline: without.
    """

    row: Row
    baseline: Row

    @property
    def points(self) -> float:
        """The difference of the best top-1 accuracies, in percentage points."""
        assert self.row.best and self.baseline.best
        difference = self.row.best["test_top1"] - self.baseline.best["test_top1"]
        return float(difference)


def create_page(
    runs: Sequence[ReportedRun], table: Sequence[Row], others: Sequence[Path] = ()
) -> str:
    """Renders the page.

    Args:
      runs: all runs.
      table: their rows.
      others: folders that aren't runs, but have pictures or robustness results.
    """
    sheet, script = source("drawing.css") + source("style.css"), source("sort.js")
    shown = [run.folder for run in runs if run.config is not None] + list(others)
    today = datetime.date.today()
    return ENVIRONMENT.get_template("page.html").render(
        style=Markup(sheet),
        script=Markup(script),
        policy=_policy(sheet, script),
        version=da_jax.__version__,
        date=f"{today.day} {today:%B %Y}",
        runs=runs,
        table=list(zip(table, row_colors(table), strict=True)),
        columns=[(name, text, name in NUMBERS) for name, text in HEADINGS.items()],
        cells=cells,
        style_of=style,
        sources=SOURCES,
        gains=gains(table),
        charts=charts(table),
        packages=PACKAGES_SHOWN,
        configured=[row for row in table if row.config is not None],
        differing=differing_fields(table),
        attachments=[
            (folder, found) for folder in shown if (found := attachments(folder))
        ],
    )


def _policy(sheet: str, script: str) -> str:
    """Returns a content security policy that allows only this page's own content."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (sheet, script)
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}';"
        f" script-src 'sha256-{hashes[1]}'; img-src data:"
    )


def gains(table: Sequence[Row]) -> list[Gain]:
    """Pairs finished rows with an augmentation and the same config without one."""
    found = []
    for row in table:
        for baseline in table:
            if row.is_finished and baseline.is_finished and _is_baseline(baseline, row):
                found.append(Gain(row, baseline))
    return found


def _is_baseline(baseline: Row, row: Row) -> bool:
    one, two = settings(baseline.runs[0]), settings(row.runs[0])
    augmentations = one.pop("augmentation"), two.pop("augmentation")
    return one == two and augmentations[0] == "none" != augmentations[1]


def differing_fields(table: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Returns the config fields that differ, with each row's values."""
    known = [row for row in table if row.config is not None]
    fields = [[dict(flatten(run.config or {})) for run in row.runs] for row in known]
    names = dict.fromkeys(name for row in fields for run in row for name in run)
    return [
        (name, values)
        for name in names
        if len(set(values := [_values(row, name) for row in fields])) > 1
        or any(len({repr(run.get(name)) for run in row}) > 1 for row in fields)
    ]


def _values(runs: list[dict[str, Any]], name: str) -> str:
    """Lists the distinct values of a field in a row's runs."""
    values = [str(run[name]) if name in run else "–" for run in runs]
    return ", ".join(dict.fromkeys(values)) or "empty"
