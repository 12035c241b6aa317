"""Any JSON file of figures as settings and tables, whatever its fields."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

MOST_ROWS = 200
MOST_COLUMNS = 40
MOST_TABLES = 40
DEEPEST = 8
"""How much of a file is shown."""

NUMBER = re.compile(r"–|-?\d+(\.\d+)?(e[-+]\d+)?")
LEFT_OUT = ("versions", "device", "pictures")
"""Of a file: the report says it of the run, or beside a picture."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures by row and column.

    Attributes:
      title: the names of what holds it, from the outside in.
      columns: the first is that of the rows' names.
      rows: the cells, as text.
      is_cut: whether there are more rows or columns.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    is_cut: bool = False

    def is_number(self, column: int) -> bool:
        """Whether all that a column has are numbers."""
        return column > 0 and all(
            NUMBER.fullmatch(row[column]) for row in self.rows if row[column]
        )


def settings_and_tables(
    content: Mapping[str, Any],
) -> tuple[list[tuple[str, str]], list[Table]]:
    """The plain values at the top of `content`, and a table for all that is nested.

    What holds mappings, or what holds lists, becomes a table of a row each; what holds
    plain values one of two columns; what holds such tables, all of them.
    """
    settings = [
        (str(name), told(value)) for name, value in content.items() if _is_short(value)
    ]
    tables: list[Table] = []
    for name, value in content.items():
        if not _is_short(value) and name not in LEFT_OUT:
            tables += _tables(str(name), value, 1)
    return settings, tables[:MOST_TABLES]


def _tables(title: str, content: Any, depth: int) -> Iterator[Table]:
    items = _items(content)
    if all(isinstance(value, list) for _, value in items):
        items = [(name, dict(_items(value))) for name, value in items]
    if not items or depth > DEEPEST:
        return
    if all(_is_short(value) for _, value in items):
        yield _table(title, [(name, {"value": value}) for name, value in items])
    elif all(_is_a_row(value) for _, value in items):
        yield _table(title, items)
    else:
        short = {name: value for name, value in items if _is_short(value)}
        if short:
            yield from _tables(title, short, depth + 1)
        for name, value in items:
            if name not in short:
                yield from _tables(f"{title}, {name}", value, depth + 1)


def _items(content: Any) -> list[tuple[str, Any]]:
    if isinstance(content, Mapping):
        return [(str(name), value) for name, value in content.items()]
    return [(f"#{number}", value) for number, value in enumerate(content, start=1)]


def _table(title: str, items: list[tuple[str, Mapping[str, Any]]]) -> Table:
    columns = list(dict.fromkeys(name for _, value in items for name in value))
    rows = [
        [name, *(told(value.get(column, "")) for column in columns[:MOST_COLUMNS])]
        for name, value in items[:MOST_ROWS]
    ]
    return Table(
        title,
        ["", *map(str, columns[:MOST_COLUMNS])],
        rows,
        is_cut=len(items) > MOST_ROWS or len(columns) > MOST_COLUMNS,
    )


def _is_a_row(value: Any) -> bool:
    """Whether `value` maps names to what a cell holds."""
    return isinstance(value, Mapping) and not any(
        isinstance(cell, Mapping | list) for cell in value.values()
    )


def _is_short(value: Any) -> bool:
    """Whether `value` has its place in a line: a few plain values, or one."""
    if isinstance(value, list):
        return len(value) <= 12 and not any(
            isinstance(entry, Mapping | list) for entry in value
        )
    return not isinstance(value, Mapping)


def told(value: Any) -> str:
    """A plain value as people write it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    if isinstance(value, list):
        return ", ".join(map(told, value))
    return str(value)
