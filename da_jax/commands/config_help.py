"""The help of the commands that train: every field of the config."""

import sys


def print_help(arguments: list[str]) -> None:
    """Prints the fields of the config, and exits, if `--help=config` is given."""
    if "--help=config" not in arguments:
        return
    from rich.console import Console  # imported late, for a fast --help
    from rich.table import Table
    from rich.text import Text

    from da_jax.config.fields import rows

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("--config.FIELD", "default", "meaning", box=None, pad_edge=False)
    for row in rows():
        meaning = f"{row.help}; {row.range}" + "; traced" * (row.kind == "traced")
        table.add_row(row.field, row.default, Text(meaning))
    console.print(table)
    print("\nChanging a traced field doesn't recompile.")
    sys.exit()
