"""The example of one's own method, network and data set, as its readers run it."""

import json
import re
import subprocess
import sys

import pytest

from tests.commands.main_test import REPOSITORY, main

EXAMPLE = "examples/own_method.py"
LOOPS = sorted(path.name for path in (REPOSITORY / "examples").glob("*_loop.py"))


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_one_s_own_prints_its_accuracies(name):
    path = REPOSITORY / "examples" / name
    assert len(path.read_text().splitlines()) < 60
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    told = dict(re.findall(r"(.+): ([\d.]+) %", done.stdout))
    assert list(told) == ["teacher", "KD", "KD + DA"]
    assert all(80 < float(accuracy) <= 100 for accuracy in told.values())


def test_there_is_a_loop_for_each_library_and_one_of_vectors():
    names = ("equinox", "linen", "nnx", "vectors")
    assert [f"{name}_loop.py" for name in names] == LOOPS


def test_own_method_network_and_data_set(tmp_path):
    assert len((REPOSITORY / EXAMPLE).read_text().splitlines()) < 40
    workdir = tmp_path / "run"
    done = main(
        *(f"--config={EXAMPLE}:kd", f"--workdir={workdir}"),
        *("--config.num_epochs=1", "--config.batch_size=250"),
        *("--config.eval_batch_size=360", "--config.LogitMSE.kd_weight=0.5"),
    )
    assert done.returncode == 0, done.stderr
    assert "few_digits | resnet20 → ConvNet | LogitMSE |" in done.stdout
    results = json.loads((workdir / "results.json").read_text())
    record = json.loads((workdir / "metrics.jsonl").read_text())
    assert record["step"] == 2  # 500 = 2 × 250
    assert record["train_loss"] == pytest.approx(record["train_loss_kd"]) != 0

    figures = tmp_path / "figures.json"
    done = main(
        *(f"--config={EXAMPLE}", "--model=ConvNet", "--dataset=few_digits"),
        *("--checkpoint", workdir, "--json", figures),
        module="da_jax.evaluate",
    )
    assert done.returncode == 0, done.stderr
    top1 = json.loads(figures.read_text())["top1"]
    assert top1 == pytest.approx(results["best"]["test_top1"], abs=1e-4)
