"""A run by AdamW, cosine, warm-up, label smoothing and an average, from end to end."""

import json
import math
import shutil
import sys

import jax
import numpy as np
import pytest

from da_jax import export
from da_jax.commands.evaluate import evaluate
from da_jax.storage.model_folders import load_model
from da_jax.storage.run_checkpoints import RunCheckpoints
from tests.commands.faults_test import outcome
from tests.commands.main_test import SHORT, main, records

RECIPE = (
    *("--config.optimizer.name=adamw", "--config.optimizer.learning_rate=0.002"),
    *("--config.optimizer.schedule=cosine", "--config.optimizer.warmup_epochs=0.5"),
    *("--config.label_smoothing=0.1", "--config.ema_decay=0.7"),
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run of two epochs of three steps."""
    folder = tmp_path_factory.mktemp("recipe") / "run"
    train(folder)
    return folder


def train(folder):
    done = main(
        *("--config=configs/digits.py", *SHORT, "--config.num_epochs=2", *RECIPE),
        f"--workdir={folder}",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(file):
    return json.loads(file.read_text())


def test_the_learning_rate_is_the_schedule_s(workdir):
    found = [record["learning_rate"] for record in records(workdir)]
    second = 0.001 * (1 + math.cos(math.pi * (3 - 1.5) / (6 - 1.5)))
    assert found == pytest.approx([0.0, second], rel=1e-6)


def test_a_run_that_was_resumed_equals_one_that_was_not(workdir, tmp_path):
    resumed = tmp_path / "resumed"
    shutil.copytree(workdir, resumed)
    shutil.rmtree(resumed / "checkpoints" / "6")
    shutil.rmtree(resumed / "best")
    assert "resumed after step 3" in train(resumed)
    assert outcome(resumed) == outcome(workdir)


def test_the_average_is_saved_evaluated_and_exported(workdir, tmp_path, monkeypatch):
    results = read(workdir / "results.json")
    assert results["weights"] == read(workdir / "best" / "model.json")["weights"]
    assert results["weights"] == "ema"
    checkpoints = RunCheckpoints(workdir)
    (student,) = checkpoints.restore().students
    checkpoints.close()
    last = load_model(workdir, last=True).variables
    jax.tree.map(np.testing.assert_array_equal, last, student["ema"])
    kernels = last["params"]["conv1"]["kernel"], student["params"]["conv1"]["kernel"]
    assert not np.allclose(*kernels)
    for which in ("best", "last"):
        figures = evaluate(
            "resnet8", workdir, "digits", data_dir=tmp_path, last=which == "last"
        )
        expected = results[which]["test_loss"]
        assert figures["loss"] == pytest.approx(expected, rel=1e-4)

    words = ["export", str(workdir), f"--output={tmp_path / 'exported'}", "--last"]
    monkeypatch.setattr(sys, "argv", words)
    export.main()
    description = read(tmp_path / "exported" / "model.json")
    assert description["weights"] == "ema"
    assert description["test_top1"] == results["last"]["test_top1"]
    exported = load_model(tmp_path / "exported").variables
    jax.tree.map(np.testing.assert_array_equal, exported, last)


def test_a_run_starts_from_another_one(workdir, tmp_path):
    command = ("--config=configs/digits.py:kd", *SHORT, "--config.num_epochs=1")
    done = main(
        *(*command, "--config.optimizer.learning_rate=1e-6"),
        *(f"--config.init_checkpoint={workdir}", f"--workdir={tmp_path / 'tuned'}"),
    )
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "tuned" / "config.json")["init_checkpoint"] == str(workdir)
    start = load_model(workdir).variables["params"]
    tuned = load_model(tmp_path / "tuned").variables["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), tuned, start)
