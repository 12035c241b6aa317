"""One page and one table of any number of runs.

python -m da_jax.report runs/* --output report
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from da_jax.command_line import Parser, run
from da_jax.errors import UserError, warn
from da_jax.files import write_text


def parse_arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m da_jax.report", description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="the folder of a run"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("report"),
        help="the folder for report.html and report.md (default: %(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    output = arguments.output.expanduser()
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    from da_jax.report.page import create_page  # argparse has spoken
    from da_jax.report.runs import read_runs
    from da_jax.report.table import markdown, rows

    runs = read_runs(arguments.runs)
    table = rows(runs)
    contents = {"report.html": create_page(runs, table), "report.md": markdown(table)}
    with _writing(output):
        for name, content in contents.items():
            write_text(output / name, content)
    for reported in runs:
        if reported.state != "finished":
            warn(f"{reported.folder}: {reported.state}")
    print(f"{output / 'report.html'}, report.md: runs {len(runs)}, rows {len(table)}")


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


if __name__ == "__main__":
    run(main)
