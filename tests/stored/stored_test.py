"""Files that version 0.1.0 left: its runs are resumed, its models evaluated.

`version_0` was written before configs had a schema: a run of two epochs, and the same
run as it was after the first.
"""

import json
import shutil
from pathlib import Path

import pytest

from da_jax.storage.files import read_json
from tests.commands.main_test import main

FOLDER = Path(__file__).parent / "version_0"
CONFIG = "tests/stored/tiny.py"


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def test_a_run_of_version_0_is_resumed(tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(FOLDER / "interrupted", workdir)
    done = main(f"--config={CONFIG}", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "resumed after step 3" in done.stdout
    expected, found = records(FOLDER / "finished")[1], records(workdir)[1]
    assert found.keys() - expected.keys() == {"train_step_over_alpha"}  # came after
    for name in expected.keys() - {"seconds"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    config = read_json(workdir / "config.json")
    assert config["schema"] == 1 and not {"KD", "fgsm", "wandb"} & config.keys()


def test_a_run_of_version_0_is_another_config_s_if_a_field_in_use_differs(tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(FOLDER / "interrupted", workdir)
    done = main(
        f"--config={CONFIG}", "--config.LogitMSE.kd_weight=2", f"--workdir={workdir}"
    )
    assert done.returncode == 2
    assert "LogitMSE.kd_weight (1.0 there, 2.0 now)" in done.stderr


def test_a_model_of_version_0_is_evaluated_and_reported(tmp_path):
    figures = tmp_path / "figures.json"
    done = main(
        *("--config", CONFIG, "--model", "Tiny", "--dataset", "digits"),
        *("--checkpoint", FOLDER / "finished" / "best", "--json", figures),
        module="da_jax.evaluate",
    )
    assert done.returncode == 0, done.stderr
    recorded = read_json(FOLDER / "finished" / "results.json")["best"]["test_top1"]
    assert read_json(figures)["top1"] == pytest.approx(recorded, abs=0.01)
    done = main(
        FOLDER / "finished", "--output", tmp_path / "report", module="da_jax.report"
    )
    assert done.returncode == 0, done.stderr
    assert "LogitMSE + DA" in (tmp_path / "report" / "report.md").read_text()
