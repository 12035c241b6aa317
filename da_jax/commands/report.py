"""Writes a report of any number of runs: an HTML page, a table and charts.

python -m da_jax.report runs/* --output report
"""

import argparse
import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from da_jax.commands.command_line import Parser, exit_on_error
from da_jax.errors import UserError
from da_jax.storage.files import write_text

logger = logging.getLogger(__name__)


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="the folder of a run or of a search, a folder of such folders, or any"
        " folder with results in robustness/ or visualize/",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("report"),
        help="the folder for report.html, report.md and curves/ (default: %(default)s)",
    )
    return parser.parse_args()


@exit_on_error()
def main() -> None:
    """Writes the report; warns of unfinished and damaged runs."""
    arguments = parse_arguments()
    output = arguments.output.expanduser()
    _check_output(output)
    from da_jax.analysis.report import comparisons  # imported late, for a fast --help
    from da_jax.analysis.report.curves import charts
    from da_jax.analysis.report.inputs import read_inputs
    from da_jax.analysis.report.page import create_page
    from da_jax.analysis.report.rendering import draw_all
    from da_jax.analysis.report.table import markdown, rows

    inputs = read_inputs(arguments.runs)
    inputs.check_not_empty()
    runs, table = inputs.runs, rows(inputs.runs)
    page = create_page(runs, table, inputs.others, inputs.searches)
    tables = (markdown(table), comparisons.markdown(comparisons.comparisons(table)))
    contents = {"report.html": page, "report.md": "\n".join(filter(None, tables))}
    for name, drawing in draw_all(charts(table)).items():
        contents[f"curves/{name}"] = drawing
    with _writing(output):
        for name, content in contents.items():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(output / name, content)
    for warning in inputs.warnings:
        logger.warning("%s", warning)
    written = f"{output / 'report.html'}, report.md, curves/"
    searches = f", searches {len(inputs.searches)}" if inputs.searches else ""
    print(f"{written}: runs {len(runs)}, rows {len(table)}{searches}")


def _check_output(output: Path) -> None:
    """Checks that `output` can be a folder, before anything is read.

    Raises:
      UserError: it, or a folder above it, is a file.
    """
    existing = next(path for path in (output, *output.parents) if path.exists())
    if not existing.is_dir():
        raise UserError(
            f"--output {output} can't be written: {os.strerror(errno.ENOTDIR)}"
        )


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Converts errors of writing to `output`.

    Raises:
      UserError: it can't be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--output {output} can't be written: {error.strerror}"
        ) from error
