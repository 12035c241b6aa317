"""The examples as their readers run them."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests.command_runs import REPOSITORY, run_all

EXAMPLE = "examples/own_method.py"
TEACHER = "checkpoints/digits_resnet20"
SHORT = (
    *("--config.num_epochs=1", "--config.batch_size=250"),
    *("--config.eval_batch_size=360", "--config.LogitMSE.kd_weight=0.5"),
)
LOOPS = sorted(path.name for path in (REPOSITORY / "examples").glob("*_loop.py"))


@pytest.mark.parametrize("name", LOOPS)
def test_loop_prints_its_accuracies(name):
    path = REPOSITORY / "examples" / name
    assert len(path.read_text().splitlines()) < 60
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    printed = dict(re.findall(r"(.+): ([\d.]+) %", done.stdout))
    assert list(printed) == ["teacher", "KD", "KD + DA"]
    assert all(80 < float(accuracy) <= 100 for accuracy in printed.values())


def test_there_is_a_loop_for_each_library_and_one_of_vectors():
    names = ("equinox", "linen", "nnx", "vectors")
    assert [f"{name}_loop.py" for name in names] == LOOPS


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of the example, and the end of its command."""
    workdir = tmp_path_factory.mktemp("own_method") / "run"
    (done,) = run_all(
        [("da_jax.main", f"--config={EXAMPLE}:kd", f"--workdir={workdir}", *SHORT)]
    )
    assert done.returncode == 0, done.stderr
    return workdir, done


def test_own_method_network_and_data_set(trained):
    assert len((REPOSITORY / EXAMPLE).read_text().splitlines()) < 40
    workdir, done = trained
    assert "few_digits | resnet20 → ConvNet | LogitMSE |" in done.stdout
    record = json.loads((workdir / "metrics.jsonl").read_text())
    assert record["step"] == 2  # 500 = 2 × 250
    terms = record["train_loss_ce"], record["train_loss_kd"]
    assert record["train_loss"] == pytest.approx(sum(terms)) and min(terms) > 0
    config = json.loads((workdir / "config.json").read_text())
    assert config["LogitMSE"] == {"ce_weight": 1.0, "kd_weight": 0.5}
    for file in ("config.json", "best/model.json"):
        recorded = json.loads((workdir / file).read_text())
        assert recorded["imports"] == ["examples.own_method"]


def test_commands_find_own_network_by_the_imports_of_its_run(trained, tmp_path):
    workdir, _ = trained
    network = ("--model=ConvNet", "--dataset=few_digits", "--checkpoint", workdir)
    pair = ("--student", workdir, "--teacher", TEACHER, "--dataset=digits")
    figures = [tmp_path / "by_imports.json", tmp_path / "by_config.json"]
    commands = [
        ("da_jax.evaluate", *network, "--json", figures[0]),
        ("da_jax.evaluate", *network, "--json", figures[1], f"--config={EXAMPLE}"),
        ("da_jax.export", workdir, "--output", tmp_path / "exported"),
        (
            *("da_jax.robustness", *pair, "--num_images=20", "--only=disagreement"),
            *("--steps=1", "--no_figure", "--output", tmp_path / "robustness"),
        ),
    ]
    if importlib.util.find_spec("matplotlib"):
        pictures = ("--only=per_class", "--output", tmp_path / "pictures")
        commands.append(("da_jax.visualize", *pair, *pictures))
    ended = run_all(commands)
    assert not any(done.returncode for done in ended), ended

    results = json.loads((workdir / "results.json").read_text())
    for file in figures:
        top1 = json.loads(file.read_text())["top1"]
        assert top1 == pytest.approx(results["best"]["test_top1"], abs=1e-4)
    exported, best = tmp_path / "exported", workdir / "best"
    assert "examples.own_method" in (exported / "model.json").read_text()
    digests = [json.loads((of / "sha256.json").read_text()) for of in (exported, best)]
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_config_of_the_best_trial_runs_by_its_imports(tmp_path):
    pytest.importorskip("optuna")
    pytest.importorskip("plotly")
    study, workdir = tmp_path / "study", tmp_path / "run"
    (searched,) = run_all(
        [
            (
                *("da_jax.sweep", f"--config={EXAMPLE}", f"--workdir={study}", *SHORT),
                *("--trials=1", "--pruner=none", "--config.validation_size=100"),
                "--config.batch_size=200",
            )
        ]
    )
    assert searched.returncode == 0, searched.stderr
    best = f"--config={study / 'best_config.py'}"
    (done,) = run_all([("da_jax.main", best, f"--workdir={workdir}")])
    assert done.returncode == 0, done.stderr
    assert "few_digits | resnet20 → ConvNet | LogitMSE + DA" in done.stdout
    config = json.loads((workdir / "config.json").read_text())
    assert config["imports"] == ["examples.own_method"]
    assert config["name"].endswith("_best")
