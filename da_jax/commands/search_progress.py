"""What the command of a search shows: a progress bar, and a line for each trial."""

from collections.abc import Callable

from da_jax.commands.progress_bar import ProgressBar
from da_jax.search.callbacks import FinishedTrial, SearchCallbacks
from da_jax.search.summary import shown


class SearchProgress(ProgressBar, SearchCallbacks):
    """A bar over images, and a line for each trial of this process as it ends."""

    def __init__(self, on_trial: Callable[[], None] = lambda: None) -> None:
        """Shows nothing yet; `on_trial` is called after each line."""
        super().__init__()
        self._on_trial = on_trial

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Prints the trial's line."""
        self.log(trial_line(trial))
        self._on_trial()


def trial_line(trial: FinishedTrial) -> str:
    """Formats a trial: number, value, best so far, time left, epochs and its values."""
    best = "no whole trial yet"
    if trial.best is not None:
        best = f"best {trial.best.value:.2f} % (trial {trial.best.number})"
    count = f"{trial.ended} of {trial.total}"
    if trial.seconds_left:
        count += f", about {duration(trial.seconds_left)} left"
    stopped = "" if trial.is_whole else ", stopped early"
    params = ", ".join(f"{name}={shown(value)}" for name, value in trial.params.items())
    return (
        f"trial {trial.number:3d} | {trial.value:.2f} % after {trial.epochs}"
        f" epochs{stopped} | {best} | {count} | {params}"
    )


def duration(seconds: float) -> str:
    """Formats a duration in one or two units."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"
