"""The search for hyperparameters: what it finds, shares and never loses or sees."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from da_jax.configs import default
from da_jax.configs import digits as digits_config
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from da_jax.errors import UserError
from da_jax.search import space as spaces
from da_jax.search.search import Search
from da_jax.search.trials import FILE, PROCESS, STUDY, Trials
from tests.command_runs import REPOSITORY

SHORT = (
    *("--config=configs/digits.py", "--config.batch_size=180"),
    *("--config.num_epochs=2", "--config.optimizer.decay_epochs=(1,)"),
    "--config.validation_size=180",
)
SPACE = spaces.create_space(
    {"disagreement.probability": {"low": 0.0, "high": 1.0}}, digits_config.get_config()
)


def command(module, *arguments, preparation="pass"):
    """A command's arguments for `subprocess`, in a process that prepared itself."""
    program = (
        f"import sys; {preparation}; sys.argv = {[module, *map(str, arguments)]};"
        f"import runpy; runpy.run_module({module!r}, run_name='__main__')"
    )
    return dict(
        args=[sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": "", "PYTHONUNBUFFERED": "1"},
        text=True,
    )


def study(folder):
    storage = f"sqlite:///{folder / FILE}"
    return optuna.load_study(study_name=STUDY, storage=storage)


def has_finished_a_trial(folder):
    try:
        trials = study(folder).trials
    except (KeyError, SQLAlchemyError):  # the study is only being made
        return False
    return any(trial.state == TrialState.COMPLETE for trial in trials)


def sweep(folder, *arguments, **options):
    return command("da_jax.sweep", *SHORT, f"--workdir={folder}", *arguments, **options)


COMPILATIONS = """
import jax.monitoring, tqdm
found = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **of: found.append(event)
    if event == '/jax/core/compile/backend_compile_duration' else None)
tqdm.tqdm.write = lambda line: print(line, '| programs:', len(found))
"""
UNREADABLE = """
from da_jax.data import interface
def refuse(self): raise AssertionError('the test set was read')
interface.Dataset.test = property(refuse)
"""


@pytest.mark.slow
def test_a_search_compiles_once_sees_no_test_set_and_its_best_runs_again(tmp_path):
    preparation = f"exec({COMPILATIONS + UNREADABLE!r})"
    done = subprocess.run(
        **sweep(tmp_path, "--trials=3", "--pruner=none", preparation=preparation),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    trials = study(tmp_path).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len({trial.params["disagreement.probability"] for trial in trials}) == 3
    programs = re.findall(r"^trial .* \| programs: (\d+)$", done.stdout, re.MULTILINE)
    assert len(programs) == 3 and int(programs[0]) > 0
    assert len(set(programs)) == 1  # the later trials have compiled nothing
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    values = [float(row["validation top-1 (%)"]) for row in rows]
    assert values == sorted(values, reverse=True) and len(rows) == 3
    for name in ("history", "importance", "epochs"):
        assert (tmp_path / "plots" / f"{name}.html").stat().st_size > 1000
        assert (tmp_path / "plots" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "plots" / "landscape.png").exists()  # of three trials

    done = subprocess.run(
        **command(
            "da_jax.main",
            f"--config={tmp_path / 'best_config.py'}",
            f"--workdir={tmp_path / 'best'}",
        ),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "best" / "results.json").read_text())
    best = study(tmp_path).best_value
    assert results["best"]["validation_top1"] == pytest.approx(best, abs=1e-9)


@pytest.mark.slow
def test_a_killed_search_goes_on_and_two_processes_share_one(tmp_path):
    """No trial is lost or run twice, whoever is killed."""
    arguments = ("--trials=6", "--parallel_trials=2", "--pruner=none")
    processes = [subprocess.Popen(**sweep(tmp_path, *arguments)) for _ in range(2)]
    deadline = time.monotonic() + 300
    while not has_finished_a_trial(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(1)
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait()
    assert processes[1].wait(timeout=600) == 0
    done = subprocess.run(**sweep(tmp_path, *arguments), capture_output=True)
    assert done.returncode == 0, done.stderr
    trials = study(tmp_path).trials
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(finished) == 6
    params = [tuple(trial.params.values()) for trial in finished]
    assert len(set(params)) == 6
    lost = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert {tuple(trial.params.values()) for trial in lost} <= set(params)
    assert all(trial.state.is_finished() for trial in trials)


def test_a_trial_of_a_process_that_is_gone_is_run_again_and_no_other(tmp_path):
    one = Trials(tmp_path, SPACE, "none", 2)
    two = Trials(tmp_path, SPACE, "none", 2)
    first, second = one.next(3), two.next(3)
    assert first.params != second.params
    one.close()  # as the system does when a process is killed
    again = two.next(3)
    assert again.params == first.params
    assert two.study.trials[first.number].state == TrialState.FAIL
    third = two.next(3)
    assert third is not None and third.params not in (first.params, second.params)
    assert two.next(3) is None
    processes = {trial.user_attrs[PROCESS] for trial in two.study.trials}
    assert len(processes) == 2
    two.close()


RECIPES = {
    "optimizer.learning_rate": (0.01, 0.1),
    "optimizer.warmup_epochs": (0.0, 2.0),
    "optimizer.clip_norm": (0.5, 2.0),
    "label_smoothing": (0.05, 0.2),
    "ema_decay": (0.9, 0.999),
}
"""Fields and ranges whose trials share a program."""


def search_of(ranges):
    config = default.create_teacher("resnet8")
    config.dataset = "digits"
    tables = {
        field: {"low": low, "high": high} for field, (low, high) in ranges.items()
    }
    return Search(config, spaces.create_space(tables, config), num_lanes=2)


def test_trials_of_recipes_share_a_program():
    search_of(RECIPES)
    for field in ("optimizer.clip_norm", "label_smoothing", "ema_decay"):
        with pytest.raises(UserError, match=f"{field} isn't a traced hyperparameter"):
            search_of({field: (0.0, 0.5)})  # 0 is off, which is another program


def test_spaces_are_read_and_bad_ones_refused(tmp_path):
    config = digits_config.get_config()
    default = spaces.create_space(spaces.read_space("da"), config)
    assert default["disagreement.learning_rate"].log
    assert (default["disagreement.steps"].low, default["disagreement.steps"].high) == (
        *(1, 3),
    )
    file = tmp_path / "space.toml"
    file.write_text('["KD.temperature"]\nlow = 1.0\nhigh = 8.0\n')
    temperature = spaces.create_space(spaces.read_space(file), config)
    assert temperature["KD.temperature"].high == 8.0
    for text, message in (
        ("[nothing]\nlow = 1\nhigh = 2\n", "isn't one of the config's"),
        ("[seed]\nlow = 1\nhigh = 2\n", "the same in all trials"),
        ('["KD.temperature"]\nlow = 1.0\n', "takes low and high"),
        ('["KD.temperature"]\nlow = 3.0\nhigh = 1.0\n', "takes low and high"),
        ('["KD.temperature"]\nlow = 0.0\nhigh = 1.0\n', "it must be positive"),
        ('[method]\nchoices = ["KD", "DK"]\n', "known: "),
        ("", "no field"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            spaces.create_space(spaces.read_space(file), config)
    with pytest.raises(UserError, match="can't be read"):
        spaces.read_space(Path("nowhere.toml"))
