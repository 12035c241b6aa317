"""The report of a search's folder, as `da-jax search` writes it."""

import json
import re

import numpy as np
import optuna
import pytest
from da_jax.configs import digits
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from da_jax.analysis.report.inputs import read_inputs
from da_jax.analysis.report.page import create_page
from da_jax.analysis.report.searches import PICTURES, read_search
from da_jax.analysis.report.table import rows
from da_jax.search import space as spaces
from da_jax.search import summary
from tests.analysis.report_page_test import Page
from tests.commands.main_test import main
from tests.run_folders import make_run

SPACE = {
    "disagreement.learning_rate": FloatDistribution(0.001, 0.1, log=True),
    "disagreement.steps": IntDistribution(1, 3),
}
TABLES = {
    "disagreement.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "disagreement.steps": {"low": 1, "high": 3},
    "method": {"choices": ["KD", "DKD"]},
}


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A search's folder with twelve made-up trials, the last two of them pruned."""
    folder = tmp_path_factory.mktemp("searches") / "digits_sweep"
    folder.mkdir()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    rng = np.random.default_rng(0)
    for number in range(12):
        state = TrialState.COMPLETE if number < 10 else TrialState.PRUNED
        top1 = float(90 + rng.uniform(0, 5))
        study.add_trial(
            create_trial(
                state=state,
                value=top1,
                params={
                    "disagreement.learning_rate": float(10 ** rng.uniform(-3, -1)),
                    "disagreement.steps": 1 + number % 3,
                },
                distributions=SPACE,
                intermediate_values={1: top1 - 1, 2: top1},
            )
        )
    config = digits.get_config()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "space.json").write_text(json.dumps(TABLES))
    summary.write(study, config, SPACE, folder)
    return folder


def test_a_search_is_shown_as_one(search, tmp_path):
    output = tmp_path / "report"
    done = main(search, "--output", output, module="da_jax.report")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "searches 1" in done.stdout
    text = (output / "report.html").read_text()
    page = Page(text)
    page.check()
    assert "<h1>Report of a search</h1>" in text and "Search: digits_sweep" in text
    assert "no run here" not in text and "epoch 0 of" not in text
    assert [picture["alt"] for picture in page.tags["img"]] == [
        text["alt"] for text in PICTURES.values()
    ]
    make_run(tmp_path / "run")
    inputs = read_inputs([search.parent, tmp_path / "run"])
    text = create_page(inputs.runs, rows(inputs.runs), (), inputs.searches)
    assert "<h1>Report of a run and a search</h1>" in text


def test_of_a_search_the_space_and_the_best_trials_are_shown(search):
    found = read_search(search)
    assert found.space.rows == [
        ["disagreement.learning_rate", "0.001 to 0.1, on a log scale"],
        ["disagreement.steps", "1 to 3"],
        ["method", "KD, DKD"],
    ]
    assert dict(found.settings)["Trials"] == "12, 2 of them stopped early"
    assert len(found.trials.rows) == 12 and len(found.best.rows) == 10
    values = [float(row[1]) for row in found.best.rows]
    assert values == sorted(values, reverse=True)
    rates = [row[4] for row in found.trials.rows]
    assert len({len(rate) for rate in rates}) == 1, rates  # one format
    assert found.repeat.endswith("best_config.py") and not found.remarks


@pytest.mark.parametrize(
    ("file", "content", "remark"),
    [
        ("trials.csv", "trial,value\n1,2,3\n", "trials.csv can't be read"),
        ("trials.csv", "", "trials.csv can't be read"),
        ("trials.csv", b"\xff\xfe", "trials.csv can't be read"),
        ("space.json", "[1, 2]", "space.json can't be read"),
        ("space.json", '{"a": {"low": [{}]}, "b": 7, "c": {"choices": {}}}', None),
        ("config.json", "{", "config.json can't be read"),
    ],
)
def test_a_damaged_search_is_shown_as_far_as_it_can_be(
    search, tmp_path, file, content, remark
):
    for name in ("config.json", "space.json", "trials.csv"):
        (tmp_path / name).write_bytes((search / name).read_bytes())
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / file).write_bytes(content)
    found = read_search(tmp_path)
    assert [one.partition(":")[0] for one in found.remarks] == [remark] * bool(remark)
    Page(create_page([], [], (), [found])).check()


def test_a_search_without_a_trial_says_so(search, tmp_path):
    for name in ("config.json", "space.json"):
        (tmp_path / name).write_bytes((search / name).read_bytes())
    text = create_page([], [], (), [read_search(tmp_path)])
    Page(text).check()
    assert "No trial has ended yet." in text


def test_default_space_is_the_one_that_is_shown(tmp_path):
    """What the command writes is what the report reads."""
    (tmp_path / "space.json").write_text(json.dumps(spaces.DEFAULT))
    (tmp_path / "config.json").write_text("{}")
    shown = dict(read_search(tmp_path).space.rows)
    assert shown.keys() == spaces.DEFAULT.keys()
    assert re.fullmatch(r"0\.1 to 1\.0", shown["disagreement.probability"])
