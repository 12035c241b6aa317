"""What a search tells of its trials: lines, the time left, pictures."""

import datetime

import optuna
import pytest
from da_jax.configs import digits
from optuna.trial import TrialState, create_trial

from da_jax.commands.search_progress import duration, trial_line
from da_jax.search import space as spaces
from da_jax.search import summary
from da_jax.search.callbacks import describe, seconds_left
from tests.search.sweep_test import SPACE

START = datetime.datetime(2026, 1, 1)


def made_trial(number, seconds=None, value=90.0, state=TrialState.COMPLETE):
    """A trial that has taken some seconds, or one that runs since `START`."""
    trial = create_trial(
        state=state,
        value=value,
        params={"disagreement.probability": 0.123456},
        distributions=SPACE,
        intermediate_values={1: value or 0.0},
    )
    trial.number, trial.datetime_start = number, START
    if seconds is None:
        trial.state, trial.datetime_complete = TrialState.RUNNING, None
    else:
        trial.datetime_complete = START + datetime.timedelta(seconds=seconds)
    return trial


def test_the_time_left_is_estimated_from_trials_that_have_ended():
    done = [made_trial(0, 100), made_trial(1, 50, state=TrialState.PRUNED)]
    now = START + datetime.timedelta(seconds=30)
    assert seconds_left(done, 10, now) == pytest.approx(8 * 75)
    running = [made_trial(2), made_trial(3)]
    assert seconds_left(done + running, 10, now) == pytest.approx((8 * 75 - 60) / 3)
    later = START + datetime.timedelta(seconds=1000)
    assert seconds_left(done + running, 4, later) == 0.0
    assert seconds_left(done, 2, now) == seconds_left([], 5, now) == 0.0


def test_a_line_tells_number_value_best_and_time_left():
    trials = [made_trial(0, 3600, 91.0), made_trial(1, 3600, 90.5), made_trial(2)]
    assert trial_line(describe(trials[1], trials, 3)).startswith(
        "trial   1 | 90.50 % after 1 epochs | best 91.00 % (trial 0) | 2 of 3"
    )
    pruned = made_trial(0, 60, 80.0, TrialState.PRUNED)
    assert trial_line(describe(pruned, [pruned], 31)) == (
        "trial   0 | 80.00 % after 1 epochs, stopped early | no whole trial yet |"
        " 1 of 31, about 30 min left | disagreement.probability=0.1235"
    )
    seconds = (0.2, 59, 61, 3599, 9000, 200_000)
    texts = ["1 s", "59 s", "1 min", "1 h 0 min", "2 h 30 min", "2.3 days"]
    assert list(map(duration, seconds)) == texts


@pytest.mark.parametrize(("count", "is_drawn"), [(9, False), (10, True)])
def test_a_landscape_takes_ten_whole_trials(tmp_path, count, is_drawn):
    config = digits.get_config()
    space = spaces.create_space(spaces.read_space(), config)
    study = optuna.create_study(direction="maximize")
    sampler = optuna.samplers.RandomSampler(seed=0)
    study.sampler = sampler
    for number in range(count + 1):
        trial = study.ask(space)
        trial.report(90.0 + number, 1)
        state = TrialState.COMPLETE if number else TrialState.PRUNED
        study.tell(trial, 90.0 + number if number else None, state)
    summary.write(study, config, space, tmp_path)
    assert (tmp_path / "plots" / "landscape.png").exists() == is_drawn
    assert (tmp_path / "plots" / "landscape.html").exists() == is_drawn
    assert (tmp_path / "plots" / "history.png").exists()
