"""One page, one table and the curves of any number of runs.

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
    parser = Parser(prog="python -m da_jax.report", description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="the folder of a run; or of none, but with figures and pictures in"
        " robustness/ or visualize/",
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
    arguments = parse_arguments()
    output = arguments.output.expanduser()
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    from da_jax.analysis.report.curves import charts  # argparse has spoken
    from da_jax.analysis.report.page import create_page
    from da_jax.analysis.report.pictures import has_exhibits
    from da_jax.analysis.report.rendering import draw_all
    from da_jax.analysis.report.runs import is_of_a_run, read_runs
    from da_jax.analysis.report.table import markdown, rows

    folders = []
    for path in dict.fromkeys(arguments.runs):
        if path.is_file():
            logger.warning("%s is a file, not the folder of a run", path)
        else:
            folders.append(path)
    others = [path for path in folders if has_exhibits(path) and not is_of_a_run(path)]
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
    """What can't be written there is the user's to mend.

    Raises:
      UserError: why.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--output {output} can't be written: {error.strerror}"
        ) from error
