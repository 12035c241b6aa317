"""Writes a report of any number of runs: an HTML page, a table and charts.

python -m da_jax.report runs/* --output report
"""

import argparse
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from da_jax.commands.command_line import (
    Parser,
    exit_on_error,
)
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
        help="the folder of a run, or any folder with results in robustness/ or"
        " visualize/",
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
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    from da_jax.analysis.report.curves import charts  # imported late, for a fast --help
    from da_jax.analysis.report.page import create_page
    from da_jax.analysis.report.pictures import has_attachments
    from da_jax.analysis.report.rendering import draw_all
    from da_jax.analysis.report.runs import is_run_folder, read_runs
    from da_jax.analysis.report.table import markdown, rows

    folders = []
    for path in dict.fromkeys(arguments.runs):
        if path.is_file():
            logger.warning("%s is a file, not the folder of a run", path)
        else:
            folders.append(path)
    others = [
        path for path in folders if has_attachments(path) and not is_run_folder(path)
    ]
    runs = read_runs(folder for folder in folders if folder not in others)
    table = rows(runs)
    page = create_page(runs, table, others)
    contents = {"report.html": page, "report.md": markdown(table)}
    for name, drawing in draw_all(charts(table)).items():
        contents[f"curves/{name}"] = drawing
    with _writing(output):
        for name, content in contents.items():
            (output / name).parent.mkdir(exist_ok=True)
            write_text(output / name, content)
    for reported in runs:
        if reported.state != "finished":
            logger.warning("%s: %s", reported.folder, reported.state)
    written = f"{output / 'report.html'}, report.md, curves/"
    print(f"{written}: runs {len(runs)}, rows {len(table)}")


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
