"""The results of a measurement as JSON and as text tables."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from da_jax.analysis.robustness.corruptions import CORRUPTIONS
from da_jax.analysis.robustness.settings import Settings

Results = dict[str, Any]
"""The content of `robustness.json`; it lacks the parts that weren't measured."""


def describe_settings(settings: Settings) -> dict[str, Any]:
    """Returns the settings as they are stored in `robustness.json`."""
    severities = {name: list(each.severities) for name, each in CORRUPTIONS.items()}
    return {**dataclasses.asdict(settings), "severities": severities}


def _disagreement_table(results: Results) -> str:
    settings, teacher = results["settings"], results["teacher"]["name"]
    header, columns = ["steps"], [map(str, range(settings["steps"] + 1))]
    for name, curves in results["disagreement"].items():
        header += [name, f"{teacher} (on {name}'s)", "disagreement"]
        columns += [map(_percent, curves[of]) for of in ("student", "teacher")]
        columns.append(map("{:.3g}".format, curves["disagreement"]))
    title = (
        "accuracy (%) after steps of Disagreement Augmentation,"
        f" α = {settings['learning_rate']:g}, batches of {settings['batch_size']}"
    )
    return _table(title, [header, *zip(*columns, strict=True)])


def _attacks_table(results: Results) -> str:
    settings = results["settings"]
    title = f"accuracy (%) under attacks in L∞, {settings['iterations']} iterations"
    header = [f"{budget:g}/255" for budget in settings["budgets"]]
    return _by_network(title, header, results, "attacks")


def _corruptions_table(results: Results) -> str:
    severities = results["settings"]["severities"].values()
    header = [str(index + 1) for index in range(len(next(iter(severities))))]
    title = "accuracy (%) under corruptions of severity"
    return _by_network(title, header, results, "corruptions")


def _by_network(title: str, header: list[str], results: Results, part: str) -> str:
    rows = [["network", part, "clean", *header]]
    for network, curves in results[part].items():
        clean = _percent(results["clean"][network])
        rows += [
            [network, name, clean, *map(_percent, values)]
            for name, values in curves.items()
        ]
    return _table(title, rows)


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Formats rows: text is aligned to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_text = [not _is_number(cell) for cell in rows[1]]
    lines = [
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, is_text, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([title, *lines, ""])


def _is_number(cell: str) -> bool:
    return cell.replace(".", "").replace("e-", "").isdecimal()


def _percent(value: float) -> str:
    return f"{value:.2f}"


TABLES: dict[str, Callable[[Results], str]] = {
    "disagreement": _disagreement_table,
    "attacks": _attacks_table,
    "corruptions": _corruptions_table,
}
"""By part, a function from the results to its table."""
