"""Searches for hyperparameters: `python -m da_jax.sweep --config=digits`.

Bayesian search with early stopping (Optuna's TPE sampler and Hyperband pruner) on what
is held out of the training set; the test set isn't read. The study is in WORKDIR: the
same command resumes it, and other processes may join it at any time. With --storage it
is in a database, for machines without a shared disk. `--help=config` lists all fields
of the config, with defaults and ranges.
"""

import contextlib
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from da_jax.commands.command_line import exit_on_error, start_jax
from da_jax.commands.config_help import print_help
from da_jax.config import command_line
from da_jax.config.prerequisites import check_prerequisites
from da_jax.errors import UserError, install_command

if TYPE_CHECKING:
    from da_jax.search.search import Search
    from da_jax.search.trials import Trials

_TRIALS = flags.DEFINE_integer(
    "trials", 20, "How many there are to be in the study in all.", lower_bound=1
)
_SPACE = flags.DEFINE_string(
    "space",
    "da",
    "What to search: a TOML file, or the name of a space: da, for α, e and p of DA.",
)
_PARALLEL_TRIALS = flags.DEFINE_integer(
    "parallel_trials", 1, "How many are trained in one program.", lower_bound=1
)
_PRUNER = flags.DEFINE_enum(
    "pruner", "hyperband", ["hyperband", "none"], "What stops trials early."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The study's folder (default: runs/, the config's name, _sweep)."
)
_STORAGE = flags.DEFINE_string(
    "storage",
    None,
    "The URL of the study's storage: postgresql://USER:PASSWORD@HOST/DATABASE,"
    " mysql://…, sqlite:///FILE or journal://FILE (default: study.db in the workdir).",
)


@exit_on_error()
def main() -> None:
    print_help(sys.argv)
    command_line.parse_flags(sys.argv, __name__)
    from da_jax.config.completion import complete  # imported late, for a fast --help

    start_jax()  # before a module of config.imports uses JAX
    config = complete(command_line.read_config())
    workdir = Path(_WORKDIR.value or f"runs/{config.name}_sweep")
    check_prerequisites(config)
    try:
        import optuna  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a search takes {error.name}: {install_command('sweep')}"
        ) from None
    from da_jax.config.checks import check_config
    from da_jax.config.workdir import check_workdir
    from da_jax.search import space as spaces
    from da_jax.search.search import Search
    from da_jax.search.storage import create_storage, storage_errors
    from da_jax.search.trials import FILE, FILES, Trials

    check_config(config)
    check_workdir(workdir, FILES)
    tables = spaces.read_space(_SPACE.value)
    space = spaces.create_space(tables, config)
    storage = create_storage(_STORAGE.value) if _STORAGE.value else None
    search = Search(config, space, _PARALLEL_TRIALS.value)
    with storage_errors(_STORAGE.value or f"sqlite:///{workdir / FILE}"):
        trials = Trials(workdir, space, _PRUNER.value, config.num_epochs, storage)
        with contextlib.closing(trials):
            _run(search, trials, tables, workdir)


def _run(
    search: "Search", trials: "Trials", tables: dict[str, Any], workdir: Path
) -> None:
    """Runs the search, and writes and prints its results."""
    from da_jax.commands.search_progress import SearchProgress
    from da_jax.config.defaults import defaults
    from da_jax.config.record import differing_fields
    from da_jax.config.workdir import write_once
    from da_jax.search import summary

    def write_table() -> None:
        with trials.alone():
            summary.write_table(trials.study, workdir)

    # A space may reach the section of any method.
    config = search.config.to_dict()
    default = defaults(config["name"], config["student"]).to_dict()
    with trials.alone():
        differing = functools.partial(differing_fields, defaults=default)
        write_once(workdir / "config.json", config, differing)
        write_once(workdir / "space.json", tables)
    trials.claim({**config, "space": tables}, default)
    with contextlib.closing(SearchProgress(write_table)) as progress:
        search.run(trials, _TRIALS.value, progress)
    with trials.alone():
        summary.write(trials.study, search.config, search.space, workdir)
    for row in summary.table(trials.study, count=5):
        print(" | ".join(row))
    print(f"the results are in {workdir}, the best trial in {workdir}/best_config.py")
