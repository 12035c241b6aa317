"""Text and JSON files, written completely or not at all."""

import json
from pathlib import Path
from typing import Any

from da_jax.errors import unreadable


def write_text(path: Path, content: str) -> None:
    """Writes a text file completely or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    # File names and JSON strings may hold lone surrogates.
    temporary.write_text(content, encoding="utf-8", errors="replace")
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as JSON, completely or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
      UserError: it can't be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
