"""What the arguments of a report are: runs, searches, or folders with results."""

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from da_jax.analysis.report.pictures import has_attachments
from da_jax.analysis.report.runs import ReportedRun, is_run_folder, read_runs
from da_jax.analysis.report.searches import (
    ReportedSearch,
    is_search_folder,
    read_search,
)
from da_jax.errors import UserError

MOST_REASONS = 3
"""The number of unreadable arguments that an error names."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a report shows.

    Attributes:
      runs: also missing and damaged ones.
      searches: the folders of searches.
      others: folders with pictures or robustness results only.
      passed_over: arguments that are none of these, and why.
    """

    runs: list[ReportedRun]
    searches: list[ReportedSearch]
    others: list[Path]
    passed_over: list[str]

    @property
    def warnings(self) -> list[str]:
        """What to tell about arguments, a line each."""
        states = [
            f"{run.folder}: {run.state}" for run in self.runs if run.state != "finished"
        ]
        return self.passed_over + states

    def check_not_empty(self) -> None:
        """Checks that something can be reported.

        Raises:
          UserError: no argument can be read.
        """
        readable = [run for run in self.runs if run.config is not None]
        if readable or self.searches or self.others:
            return
        reasons = self.warnings[:MOST_REASONS]
        if more := len(self.warnings) - len(reasons):
            reasons.append(f"and {more} more")
        raise UserError(
            f"there is no run to report: {'; '.join(reasons)}; give folders as"
            " `da-jax train` writes them, such as runs/*"
        )


def read_inputs(paths: Iterable[Path]) -> Inputs:
    """Reads the arguments of a report; a folder of runs stands for its runs."""
    folders: list[Path] = []
    passed_over = []
    for path in dict.fromkeys(paths):
        if path.is_file():
            passed_over.append(f"{path} is a file, not the folder of a run")
        elif _is_known(path) or not path.is_dir():
            folders.append(path)  # a missing one is listed as such
        elif inside := _inside(path):
            folders += inside
        else:
            passed_over.append(f"{path}: no run here")
    searches = [folder for folder in folders if is_search_folder(folder)]
    rest = [folder for folder in folders if folder not in searches]
    others = [
        path for path in rest if has_attachments(path) and not is_run_folder(path)
    ]
    return Inputs(
        runs=read_runs(folder for folder in rest if folder not in others),
        searches=[read_search(folder) for folder in dict.fromkeys(searches)],
        others=others,
        passed_over=passed_over,
    )


def _is_known(folder: Path) -> bool:
    kinds = (is_search_folder, is_run_folder, has_attachments)
    return any(is_one(folder) for is_one in kinds)


def _inside(folder: Path) -> list[Path]:
    """Returns the subfolders that can be reported."""
    with contextlib.suppress(OSError):  # of a folder that may not be read
        return [each for each in sorted(folder.iterdir()) if _is_known(each)]
    return []
