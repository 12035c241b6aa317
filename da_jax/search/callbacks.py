"""What a caller may watch of a search; nothing here prints."""

import dataclasses
import datetime
import statistics
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from da_jax.training.callbacks import Callbacks

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclasses.dataclass(frozen=True)
class FinishedTrial:
    """A trial that has just ended, and the state of the study.

    Attributes:
      number: of the trial in the study.
      value: top-1 (%) on the held-out examples, at the students' best epochs.
      epochs: how many it was trained for.
      is_whole: whether it wasn't stopped early.
      params: its values by field.
      best: the best whole trial so far, or None.
      ended: how many trials have ended, in all processes.
      total: how many the study is to have.
      seconds_left: an estimate for the rest, from the trials that have ended.
    """

    number: int
    value: float
    epochs: int
    is_whole: bool
    params: dict[str, Any]
    best: FrozenTrial | None
    ended: int
    total: int
    seconds_left: float


class SearchCallbacks(Callbacks):
    """Ignores everything; a command overrides what it shows."""

    def trial_finished(self, trial: FinishedTrial) -> None:
        """Is called when a trial of this process has ended."""


def describe(
    trial: FrozenTrial, trials: Sequence[FrozenTrial], total: int
) -> FinishedTrial:
    """Describes a trial that has just ended.

    Args:
      trial: the trial.
      trials: all trials of the study.
      total: how many it is to have.
    """
    assert trial.value is not None
    whole = [each for each in trials if each.state == TrialState.COMPLETE]
    return FinishedTrial(
        number=trial.number,
        value=trial.value,
        epochs=len(trial.intermediate_values),
        is_whole=trial.state == TrialState.COMPLETE,
        params=dict(trial.params),
        best=max(whole, key=lambda each: each.value or 0.0, default=None),
        ended=sum(each.state in ENDED for each in trials),
        total=total,
        seconds_left=seconds_left(trials, total, datetime.datetime.now()),
    )


def seconds_left(
    trials: Sequence[FrozenTrial], total: int, now: datetime.datetime
) -> float:
    """Estimates the time until a study has `total` trials.

    The remaining trials take as long as the mean of those that have ended, and as many
    run at once as now, when one has just ended.
    """
    durations = [
        trial.duration.total_seconds()
        for trial in trials
        if trial.state in ENDED and trial.duration is not None
    ]
    remaining = max(0, total - len(durations))
    if not durations or not remaining:
        return 0.0
    mean = statistics.fmean(durations)
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    spent = sum(
        min(mean, max(0.0, (now - trial.datetime_start).total_seconds()))
        for trial in running
        if trial.datetime_start is not None
    )
    at_once = min(remaining, len(running) + 1)
    return max(0.0, remaining * mean - spent) / at_once
