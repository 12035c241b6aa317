"""Files of text and JSON, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from da_jax.errors import unreadable


def write_text(path: Path, content: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    # Names of files and JSON's strings may hold halves of characters.
    temporary.write_text(content, encoding="utf-8", errors="replace")
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:
    """The same, of `content` as JSON."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
      UserError: it can't be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
