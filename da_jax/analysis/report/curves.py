"""The charts of a report, from the records of its rows' runs."""

import dataclasses
import itertools
import statistics
from collections.abc import Sequence

from da_jax.analysis.report.chart import Chart, Point, Series
from da_jax.analysis.report.checks import is_number
from da_jax.analysis.report.table import Row
from da_jax.training.metrics import Record, by_seed

TITLES = {
    "test_top1": "Test accuracy, top-1 (%)",
    "train_top1": "Training accuracy, top-1 (%)",
    "train_loss": "Training loss",
    "train_loss_ce": "Training loss: cross-entropy",
    "train_loss_kd": "Training loss: distillation",
    "test_loss": "Test cross-entropy",
    "validation_top1": "Held-out accuracy, top-1 (%)",
    "validation_loss": "Held-out cross-entropy",
    "learning_rate": "Learning rate",
}
"""Titles of charts by the records' field."""

LARGEST_TOP1 = 100.0

ZOOM_FROM = 30
"""Runs of at least so many epochs have another chart of their last third."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A row of the results table, with its label and colour in the charts.

    Attributes:
      row: the row.
      label: unique among the curves of a chart.
      color: the index of its colour.
    """

    row: Row
    label: str
    color: int


def row_colors(table: Sequence[Row]) -> list[int | None]:
    """Returns a colour index for each row that has curves."""
    numbers = itertools.count()
    return [next(numbers) if row.runs[0].history else None for row in table]


def charts(table: Sequence[Row]) -> dict[str, list[Chart]]:
    """Returns the charts that have a value, by data set."""
    by_dataset: dict[str, list[Curve]] = {}
    for row, color in zip(table, row_colors(table), strict=True):
        if color is not None and row.config is not None:
            curve = Curve(row, row.label, color)
            by_dataset.setdefault(row.config["dataset"], []).append(curve)
    return {
        dataset: _charts(f"{number}-", _labelled(curves))
        for number, (dataset, curves) in enumerate(by_dataset.items())
    }


def _labelled(curves: list[Curve]) -> list[Curve]:
    """Adds the pair to the labels if the pairs differ."""
    if len({curve.row.pair for curve in curves}) == 1:
        return curves
    return [
        dataclasses.replace(curve, label=f"{curve.row.pair}: {curve.label}")
        for curve in curves
    ]


def _charts(prefix: str, curves: list[Curve]) -> list[Chart]:
    drawn = [
        _chart("test_top1", curves),
        _zoom("test_top1", curves),
        _chart("validation_top1", curves),
        _zoom("validation_top1", curves),
        _chart("train_top1", curves),
        _chart("train_loss", curves),
        *(_chart(part, curves) for part in _loss_parts(curves)),
        _chart("test_loss", curves),
        _chart("validation_loss", curves),
        _disagreement(curves),
        _chart("learning_rate", curves),
    ]
    return [
        dataclasses.replace(chart, key=prefix + chart.key)
        for chart in drawn
        if chart.drawn
    ]


def _chart(name: str, curves: list[Curve]) -> Chart:
    part = name.removeprefix("train_loss_")
    title = TITLES.get(name, f"Training loss: {part}")
    lines = [
        Series(curve.label, points(curve.row, name), curve.color) for curve in curves
    ]
    if not name.endswith("_top1"):
        return Chart(name, title, lines)
    return Chart(name, title, lines, ".2f", LARGEST_TOP1)


def _zoom(name: str, curves: list[Curve]) -> Chart:
    """Charts the last third of long runs, where accuracies differ little."""
    whole = _chart(name, curves)
    last = max((line.points[-1].x for line in whole.drawn), default=0)
    first = last - last // 3
    lines = [
        dataclasses.replace(
            line, points=[point for point in line.points if point.x >= first]
        )
        for line in whole.lines
        if last >= ZOOM_FROM
    ]
    title = whole.title.replace("top-1", f"epochs {first:g}–{last:g}")
    return dataclasses.replace(whole, key=f"{name}_late", title=title, lines=lines)


def _disagreement(curves: list[Curve]) -> Chart:
    lines = [
        Series(
            f"{curve.label}: {when}",
            points(curve.row, f"train_disagreement_{when}"),
            curve.color,
            is_dotted,
        )
        for curve in curves
        for when, is_dotted in (("after", False), ("before", True))
    ]
    title = "Disagreement before and after the ascent"
    return Chart("disagreement", title, lines)


def _loss_parts(curves: list[Curve]) -> list[str]:
    """Returns the names of the terms of the training losses."""
    names = (
        name
        for curve in curves
        for run in curve.row.runs
        for record in run.history
        for name in by_seed(record)[0]
        if name.startswith("train_loss_")
    )
    return list(dict.fromkeys(names))


def points(row: Row, name: str) -> list[Point]:
    """Returns the mean, minimum and maximum of `name` over a row's students, by epoch.

    Epochs without it in their records, such as those without an evaluation, have no
    point; the line connects their neighbours.
    """
    values: dict[int, list[float]] = {}
    for run in row.runs:
        for record in run.history:
            if name in record or name in by_seed(record)[0]:
                found = _finite_values(record, name)
                values.setdefault(record["epoch"], []).extend(found)
    return [_point(epoch, values[epoch]) for epoch in sorted(values)]


def _finite_values(record: Record, name: str) -> list[float]:
    """Returns the finite values of `name`, one for each student."""
    own = [student.get(name, record.get(name)) for student in by_seed(record)]
    return [value for value in own if is_number(value)]


def _point(epoch: int, values: list[float]) -> Point:
    if not values:
        return Point(epoch, None)
    return Point(epoch, statistics.fmean(values), min(values), max(values))
