"""The report as one self-contained HTML page."""

import base64
import dataclasses
import datetime
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

import da_jax
from da_jax.analysis.report.chart import style
from da_jax.analysis.report.comparisons import comparisons
from da_jax.analysis.report.curves import charts, row_colors
from da_jax.analysis.report.formats import setting_text, signed
from da_jax.analysis.report.intervals import draw_interval, largest_end
from da_jax.analysis.report.pictures import attachments
from da_jax.analysis.report.published import SOURCES
from da_jax.analysis.report.rendering import ENVIRONMENT, source
from da_jax.analysis.report.runs import ReportedRun
from da_jax.analysis.report.searches import ReportedSearch
from da_jax.analysis.report.settings import differing, seeds, settings
from da_jax.analysis.report.table import Row, cells

HEADINGS = {
    "best": "Best, %",
    "last": "Last, %",
    "n": "n",
    "published": "Published, %",
    "teacher": "Teacher, %",
    "epochs": "Epochs",
    "hours": "Hours",
    "state": "State",
}
"""The columns of the results table after the rows' names, and their headings."""

NUMBERS = ("best", "last", "n", "published", "teacher", "epochs", "hours")
"""The columns that are sorted as numbers."""

PACKAGES_SHOWN = ("da-jax", "jax", "jaxlib", "flax", "python")
"""The versions in the table of runs; `results.json` has more."""


@dataclasses.dataclass(frozen=True)
class PairSettings:
    """The settings of a pair's rows.

    Attributes:
      pair: teacher and student.
      rows: the rows of the pair.
      differing: fields in which runs of the pair differ, with each row's values.
      others: the other fields, with their value.
    """

    pair: str
    rows: list[Row]
    differing: list[tuple[str, list[str]]]
    others: list[tuple[str, str]]


def create_page(
    runs: Sequence[ReportedRun],
    table: Sequence[Row],
    others: Sequence[Path] = (),
    searches: Sequence[ReportedSearch] = (),
) -> str:
    """Renders the page.

    Args:
      runs: all runs.
      table: their rows.
      others: folders that aren't runs, but have pictures or robustness results.
      searches: hyperparameter searches.
    """
    sheet, script = source("drawing.css") + source("style.css"), source("sort.js")
    shown = [run.folder for run in runs if run.config is not None] + list(others)
    today, compared = datetime.date.today(), comparisons(table)
    return ENVIRONMENT.get_template("page.html").render(
        style=Markup(sheet),
        script=Markup(script),
        policy=_policy(sheet, script),
        version=da_jax.__version__,
        date=f"{today.day} {today:%B %Y}",
        title=_title(len(runs), len(searches)),
        runs=runs,
        table=list(zip(table, row_colors(table), strict=True)),
        columns=[(name, text, name in NUMBERS) for name, text in HEADINGS.items()],
        cells=cells,
        style_of=style,
        sources=SOURCES,
        comparisons=compared,
        drawing_of=functools.partial(draw_interval, limit=largest_end(compared)),
        signed=signed,
        charts=charts(table),
        packages=PACKAGES_SHOWN,
        settings=settings_by_pair(table),
        searches=searches,
        attachments=[
            (folder, found) for folder in shown if (found := attachments(folder))
        ],
    )


def _title(runs: int, searches: int) -> str:
    """Returns the page's heading."""
    parts = [
        "a " + name if count == 1 else f"{count} {name}{plural}"
        for count, name, plural in ((runs, "run", "s"), (searches, "search", "es"))
        if count
    ]
    return "Report of " + " and ".join(parts) if parts else "Report"


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


def settings_by_pair(table: Sequence[Row]) -> list[PairSettings]:
    """Returns the settings of each pair of teacher and student."""
    pairs: dict[str, list[Row]] = {}
    for row in table:
        if row.config is not None:
            pairs.setdefault(row.pair, []).append(row)
    return [_pair_settings(pair, rows) for pair, rows in pairs.items()]


def _pair_settings(pair: str, rows: list[Row]) -> PairSettings:
    fields = [[settings(run) | seeds(run) for run in row.runs] for row in rows]
    differ = differing([run for row in fields for run in row])
    names = dict.fromkeys(name for row in fields for run in row for name in run)
    return PairSettings(
        pair,
        rows,
        [(name, [_values(row, name) for row in fields]) for name in differ],
        [
            (name, _values([run for row in fields for run in row], name))
            for name in names
            if name not in differ
        ],
    )


def _values(runs: list[dict[str, Any]], name: str) -> str:
    """Lists the distinct values of a field in some runs."""
    values = [setting_text(run[name]) for run in runs if name in run]
    return ", ".join(dict.fromkeys(values)) or "–"
