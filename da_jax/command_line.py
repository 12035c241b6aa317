"""How every command of ours ends."""

import sys
from collections.abc import Callable

from da_jax.errors import EXIT_CODE, UserError


def run(command: Callable[[], None]) -> None:
    """Runs `command`; a user's mistake ends in one line and exit code 2."""
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_CODE)
