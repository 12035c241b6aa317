"""Results of a search: a table, Optuna's plots, and the best trial as a config."""

import csv
import io
import pprint
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from ml_collections import ConfigDict
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from da_jax.search.space import Space, with_values
from da_jax.storage.files import write_text

Plot = Callable[[Any, optuna.Study, list[str]], Any]
"""Maps (Optuna's plots of a backend, study, two fields) to a figure."""

VALUE = "validation top-1 (%)"
"""What trials are compared by."""

PLOTS: dict[str, Plot] = {
    "history": lambda plots, study, _: plots.plot_optimization_history(
        study, target_name=VALUE
    ),
    "importance": lambda plots, study, _: plots.plot_param_importances(
        study, target_name=VALUE
    ),
    "landscape": lambda plots, study, fields: plots.plot_contour(
        study, fields, target_name=VALUE
    ),
    "epochs": lambda plots, study, _: plots.plot_intermediate_values(study),
}

INCHES = 6.4, 4.4
"""The size of a picture."""

LANDSCAPE = ("disagreement.learning_rate", "disagreement.probability")
"""The two fields of the landscape, where the space has both."""

FEWEST_OF_LANDSCAPE = 10
"""Whole trials; contours between fewer would be made up."""


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the finished trials, best first; pruned ones come after complete ones."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return sorted(
        study.get_trials(states=states),
        key=lambda trial: (trial.state == TrialState.COMPLETE, trial.value or 0.0),
        reverse=True,
    )


def epochs(trial: FrozenTrial) -> int:
    """Returns how many epochs a trial was trained for."""
    return len(trial.intermediate_values)


def shown(value: Any) -> str:
    """Formats a value of a field."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(study: optuna.Study, count: int | None = None) -> list[list[str]]:
    """Creates a table of trials: a header, and a row per trial, best first.

    Args:
      study: the study.
      count: the number of rows, or None for all trials.
    """
    trials = finished(study)[:count]
    fields = sorted({field for trial in trials for field in trial.params})
    header = ["trial", VALUE, "epochs", "ended", *fields]
    rows = [
        [
            str(trial.number),
            f"{trial.value:.2f}",
            str(epochs(trial)),
            "whole" if trial.state == TrialState.COMPLETE else "early",
            *(shown(trial.params.get(field, "")) for field in fields),
        ]
        for trial in trials
    ]
    return [header, *rows]


def write_table(study: optuna.Study, folder: Path) -> None:
    """Writes `trials.csv`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table(study))
    write_text(folder / "trials.csv", text.getvalue())


def write(study: optuna.Study, config: ConfigDict, space: Space, folder: Path) -> None:
    """Writes `trials.csv`, `best_config.py`, and `plots/` as HTML and PNG."""
    write_table(study, folder)
    whole = [t for t in finished(study) if t.state == TrialState.COMPLETE]
    if not whole:
        return
    (folder / "best_config.py").write_text(config_file(config, whole[0]))
    if len(whole) > 1:
        _write_plots(study, space, folder / "plots", len(whole))


def config_file(config: ConfigDict, trial: FrozenTrial) -> str:
    """Returns the content of a config file that repeats `trial` by `da_jax.main`."""
    best = with_values(config, trial.params)
    best.name = f"{config.name}_best"
    fields = pprint.pformat(best.to_dict(), sort_dicts=False)
    found = f"{trial.value:.2f} % on held-out examples"
    return f'''"""Trial {trial.number} of a search: {found}.

python -m da_jax.main --config=FOLDER/best_config.py
"""

from ml_collections import ConfigDict

FIELDS = {fields}


def get_config() -> ConfigDict:
    return ConfigDict(FIELDS)
'''


def _write_plots(study: optuna.Study, space: Space, folder: Path, whole: int) -> None:
    """Draws the plots that `whole` complete trials are enough for."""
    import matplotlib.pyplot as plt
    from optuna import visualization
    from optuna.visualization import matplotlib

    warnings.simplefilter("ignore", ExperimentalWarning)  # of Optuna's plots
    folder.mkdir(exist_ok=True)
    fields = [field for field in LANDSCAPE if field in space]
    if len(fields) < 2:
        fields = list(space)[:2]
    left_out = set()
    if len(space) < 2:
        left_out |= {"importance", "landscape"}
    if whole < FEWEST_OF_LANDSCAPE:
        left_out.add("landscape")
    for name, plot in PLOTS.items():
        if name in left_out:
            continue
        plot(visualization, study, fields).write_html(
            folder / f"{name}.html", include_plotlyjs="directory"
        )
        axes = plot(matplotlib, study, fields)
        axes.figure.set_size_inches(INCHES)
        axes.figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
        plt.close(axes.figure)
