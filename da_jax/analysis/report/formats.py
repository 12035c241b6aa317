"""Text of values: one format for the numbers of a table's column or of a chart."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from da_jax.analysis.report.checks import is_number

SMALL = 1e-3
"""Numbers below 1 are written with exponents if one is smaller than this."""


def number_format(values: Iterable[Any], decimals: int = 2) -> str:
    """Returns the format specification that numbers share.

    Whole numbers have no decimals. Others have `decimals` if the largest is at least 1,
    else as many as give the largest four digits, or exponents if some are tiny.
    Values that aren't numbers don't count.
    """
    numbers = [value for value in values if is_number(value)]
    if all(isinstance(value, int) for value in numbers):
        return "d"
    sizes = [abs(value) for value in numbers if value]
    largest = max(sizes, default=1.0)
    if largest >= 1:
        return f".{decimals}f"
    if min(sizes) < SMALL:
        return ".2e"
    return f".{3 - math.floor(math.log10(largest))}f"


def column_texts(values: Sequence[Any]) -> list[str]:
    """Formats the cells of a column: its numbers alike, everything else as text."""
    form = number_format(values)
    return [
        format(value, form) if is_number(value) else as_text(value) for value in values
    ]


def as_text(value: Any) -> str:
    """Formats a scalar or a list of them."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    return str(value)


def setting_text(value: Any) -> str:
    """Formats the value of a config field as it is set, lists without brackets."""
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_text, value)) or "none"
    if isinstance(value, dict):
        return f"{len(value)} fields"
    return "empty" if value == "" else str(value)


def signed(value: float, digits: int = 2) -> str:
    """Formats a difference with its sign, a real minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
