"""The content of `robustness.json` as settings and tables with headings in words."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from da_jax.analysis.report.formats import as_text, setting_text
from da_jax.analysis.report.json_tables import Table, settings_and_tables

Labels = Callable[[Mapping[str, Any], int], list[str]]
"""(content of the file, number of values) to a label for each value."""

WORDS = {
    "clean": "Unchanged images, accuracy (%)",
    "disagreement": "Steps of ascent, accuracy (%) and disagreement",
    "attacks": "Attacks by L∞ budget, accuracy (%)",
    "corruptions": "Corruptions by severity, accuracy (%)",
    "networks": "Networks",
    "severities": "Severities of the corruptions",
    "dataset": "Data set",
    "num_images": "Test images",
    "steps": "Steps of ascent",
    "learning_rate": "α",
    "batch_size": "Batch size",
    "budgets": "L∞ budgets (255ths)",
    "iterations": "Iterations of an attack",
    "seed": "Seed",
}
"""Headings and names by the fields of the file; others are shown as they are."""


def _budgets(content: Mapping[str, Any], count: int) -> list[str]:
    settings = content.get("settings")
    budgets = settings.get("budgets") if isinstance(settings, Mapping) else None
    if not isinstance(budgets, list) or len(budgets) != count:
        return [f"#{number}" for number in range(1, count + 1)]
    return [f"{as_text(budget)}/255" for budget in budgets]


LABELS: dict[str, Labels] = {
    "disagreement": lambda _, count: [f"step {step}" for step in range(count)],
    "attacks": _budgets,
    "corruptions": lambda _, count: [f"severity {1 + level}" for level in range(count)],
}
"""By part of the file."""


def label_values(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of `robustness.json` with its lists as labelled values."""

    def label(part: str, values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return dict(zip(LABELS[part](content, len(values)), values, strict=True))

    def curves(part: str, network: Any) -> Any:
        if not isinstance(network, Mapping):
            return network
        return {kind: label(part, values) for kind, values in network.items()}

    found = dict(content)
    for part in LABELS:
        if isinstance(networks := found.get(part), Mapping):
            found[part] = {name: curves(part, each) for name, each in networks.items()}
    return found


def describe(content: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[Table]]:
    """Returns the settings of `robustness.json` by name, and its tables."""
    shown = label_values(content)
    settings = shown.pop("settings", {})
    shown = {"networks": _networks(shown), **shown}
    if isinstance(settings, Mapping):
        shown |= settings
    if isinstance(curves := shown.get("disagreement"), Mapping):
        # A step has a row: accuracies and disagreements have columns of their own.
        shown["disagreement"] = {name: _transposed(curves[name]) for name in curves}
    scalars, tables = settings_and_tables(shown)
    names = [(name, shown[name]) for name, _ in scalars]
    return (
        [(WORDS.get(name, name), setting_text(value)) for name, value in names],
        [dataclasses.replace(table, title=_heading(table.title)) for table in tables],
    )


def _networks(content: dict[str, Any]) -> dict[str, Any]:
    """Removes the students and the teacher from `content`; returns them by name."""
    found: dict[str, Any] = {}
    students, teacher = content.pop("students", []), content.pop("teacher", None)
    for network in [*(students if isinstance(students, list) else []), teacher]:
        if isinstance(network, Mapping):
            own = {key: value for key, value in network.items() if key != "name"}
            found[str(network.get("name", f"#{1 + len(found)}"))] = own
    return found


def _transposed(curves: Any) -> Any:
    """Exchanges the levels of nested mappings; returns anything else as it is."""
    if not isinstance(curves, Mapping):
        return curves
    if not all(isinstance(curve, Mapping) for curve in curves.values()):
        return curves
    keys = dict.fromkeys(key for curve in curves.values() for key in curve)
    return {
        key: {name: curve[key] for name, curve in curves.items() if key in curve}
        for key in keys
    }


def _heading(title: str) -> str:
    """Puts the first part of a table's title in words."""
    part, _, rest = title.partition(", ")
    heading = WORDS.get(part, part)
    return f"{heading}: {rest}" if rest else heading
