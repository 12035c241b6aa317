"""Searches for hyperparameters: `python -m da_jax.sweep --config=configs/digits.py`.

Bayesian search with early stopping (Optuna's TPE sampler and Hyperband pruner) on what
is held out of the training set; the test set isn't read. The study is in WORKDIR: the
same command resumes it, and other processes may join it at any time.
"""

import contextlib
import sys
from pathlib import Path

from absl import flags

from da_jax.commands.command_line import exit_on_error, start_jax
from da_jax.config import command_line
from da_jax.config.prerequisites import check_prerequisites
from da_jax.errors import UserError, install_command

_TRIALS = flags.DEFINE_integer(
    "trials", 20, "How many there are to be in the study in all.", lower_bound=1
)
_SPACE = flags.DEFINE_string(
    "space", None, "A TOML file of what to search (default: α, e and p of DA)."
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


@exit_on_error()
def main() -> None:
    command_line.parse_flags(sys.argv, __name__)
    start_jax()  # before a module of config.imports uses JAX
    config = command_line.read_config()
    workdir = Path(_WORKDIR.value or f"runs/{config.name}_sweep")
    check_prerequisites(config)
    try:
        import optuna  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a search takes {error.name}: {install_command('sweep')}"
        ) from None
    from da_jax.commands.progress_bar import ProgressBar
    from da_jax.config.checks import check_config
    from da_jax.config.workdir import check_workdir, write_once
    from da_jax.search import space as spaces
    from da_jax.search import summary
    from da_jax.search.search import Search
    from da_jax.search.trials import FILES, Trials

    check_config(config)
    check_workdir(workdir, FILES)
    tables = spaces.read_space(Path(_SPACE.value) if _SPACE.value else None)
    space = spaces.create_space(tables, config)
    search = Search(config, space, _PARALLEL_TRIALS.value)
    trials = Trials(workdir, space, _PRUNER.value, config.num_epochs)
    try:
        # A space may reach the section of any method.
        write_once(workdir / "config.json", search.config.to_dict())
        write_once(workdir / "space.json", tables)
        with contextlib.closing(ProgressBar()) as bar:
            search.run(trials, _TRIALS.value, bar)
        summary.write(trials.study, search.config, space, workdir)
    finally:
        trials.close()
    for row in summary.table(trials.study, count=5):
        print(" | ".join(row))
    print(f"the study is in {workdir}, its best trial in {workdir / 'best_config.py'}")
