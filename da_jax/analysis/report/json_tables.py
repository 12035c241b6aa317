"""Converts any JSON content to a list of settings and tables."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from da_jax.analysis.report.formats import as_text, column_texts

MOST_ROWS = 200
MOST_COLUMNS = 40
MOST_TABLES = 40
DEEPEST = 8
"""Limits on the part of a file that is shown."""

NUMBER = re.compile(r"–|-?\d+(\.\d+)?(e[-+]\d+)?")
LEFT_OUT = ("versions", "device", "pictures")
"""Fields that are skipped: the report shows them elsewhere."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
      title: the names of the fields that contain it, outermost first.
      columns: the headings; the first column has the rows' names.
      rows: the cells, as text.
      is_cut: whether rows or columns were left out.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    is_cut: bool = False

    def is_number(self, column: int) -> bool:
        """Returns whether all values of a column are numbers."""
        return column > 0 and all(
            NUMBER.fullmatch(row[column]) for row in self.rows if row[column]
        )


def settings_and_tables(
    content: Mapping[str, Any],
) -> tuple[list[tuple[str, str]], list[Table]]:
    """Returns the scalar fields of `content`, and tables of its nested fields.

    A mapping or list of mappings, or of lists, becomes a table with a row for each; one
    of scalars becomes a table of two columns; deeper nesting becomes several tables.
    """
    settings = [
        (str(name), as_text(value))
        for name, value in content.items()
        if _is_short(value)
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
    shown = items[:MOST_ROWS]
    cells = [
        column_texts([value.get(column, "") for _, value in shown])
        for column in columns[:MOST_COLUMNS]
    ]
    return Table(
        title,
        ["", *map(str, columns[:MOST_COLUMNS])],
        [list(row) for row in zip([name for name, _ in shown], *cells, strict=True)],
        is_cut=len(items) > MOST_ROWS or len(columns) > MOST_COLUMNS,
    )


def _is_a_row(value: Any) -> bool:
    """Returns whether `value` is a mapping of scalars."""
    return isinstance(value, Mapping) and not any(
        isinstance(cell, Mapping | list) for cell in value.values()
    )


def _is_short(value: Any) -> bool:
    """Returns whether `value` is a scalar or a short list of scalars."""
    if isinstance(value, list):
        return len(value) <= 12 and not any(
            isinstance(entry, Mapping | list) for entry in value
        )
    return not isinstance(value, Mapping)
