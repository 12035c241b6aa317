"""The main command as its users run it: a short run, resumed, and mistakes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SHORT = (
    "--config.batch_size=360",
    "--config.eval_batch_size=360",
    "--config.optimizer.decay_epochs=(1,)",
)


def main(*arguments, module="da_jax.main"):
    environment = os.environ | {"XLA_FLAGS": ""}  # one device
    what = ("-m", module) if module else ("-c",)
    return subprocess.run(
        [sys.executable, *what, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


def test_a_run_that_was_resumed_equals_one_that_was_not(tmp_path):
    """The second epoch's checkpoint is taken away: it is run again to the same bits."""
    workdir = tmp_path / "run"
    command = ("--config=configs/digits.py", f"--workdir={workdir}", *SHORT)
    done = main(*command, "--config.num_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "resnet20 → resnet8 | KD + DA" in done.stdout
    whole = json.loads((workdir / "results.json").read_text())
    first = records(workdir)
    assert [record["epoch"] for record in first] == [1, 2]
    assert first[1]["learning_rate"] == pytest.approx(0.005)
    assert list(workdir.glob("events.out.tfevents.*"))

    shutil.rmtree(workdir / "checkpoints" / "2")
    done = main(*command, "--config.num_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 1" in done.stdout
    again = json.loads((workdir / "results.json").read_text())
    assert again["last"] == whole["last"] and again["best"] == whole["best"]
    names = ("train_loss", "test_loss", "train_disagreement_before")
    for one, two in zip(first, records(workdir), strict=True):
        assert [one[name] for name in names] == [two[name] for name in names]

    figures = tmp_path / "figures.json"
    done = main(
        *("--model", "resnet8", "--checkpoint", workdir, "--dataset", "digits"),
        *("--json", figures, "--last"),
        module="da_jax.evaluate",
    )
    assert done.returncode == 0, done.stderr
    top1 = json.loads(figures.read_text())["top1"]
    assert top1 == pytest.approx(whole["last"]["test_top1"], abs=1e-4)

    done = main(*command, "--config.num_epochs=2", "--config.seed=1")
    assert done.returncode == 2
    assert "seed (0 there, 1 now)" in done.stderr


def test_without_tensorflow_a_run_does_without_tensorboard(tmp_path):
    """And the options that no other run has: random start, last batch, no labels."""
    arguments = (
        *("da_jax.main", "--config=configs/digits.py", f"--workdir={tmp_path}"),
        *(SHORT[1], SHORT[2], "--config.num_epochs=1", "--config.batch_size=400"),
        *("--config.drop_remainder=False", "--config.use_labels=False"),
        "--config.disagreement.random_init=True",
    )
    program = (
        "import sys; sys.modules['tensorflow'] = None;"
        f"sys.argv = {list(arguments)}; import da_jax.command_line, da_jax.main;"
        "da_jax.command_line.run(da_jax.main.main)"
    )
    done = main(program, module=None)
    assert done.returncode == 0, done.stderr
    assert "no TensorBoard summaries: tensorflow isn't installed" in done.stdout
    assert not list(tmp_path.glob("events.out.tfevents.*"))
    (record,) = records(tmp_path)
    assert record["step"] == 4  # 1,437 = 3 × 400 + 237
    assert record["train_loss_ce"] == 0 < record["train_loss_kd"]
    assert json.loads((tmp_path / "results.json").read_text())["best"]["epoch"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no config"),
        (("--config=configs/missing.py",), "missing.py"),
        (("--config=configs/digits.py:ad",), "known: resnet20, da, kd"),
        (("--config=configs/digits.py", "--config.sede=1"), "sede"),
        (("--config=configs/digits.py", "--config.batch_size=0"), "at least 2"),
        (
            ("--config=configs/digits.py", "--config.disagreement.probability=1.5"),
            "from 0 to 1",
        ),
        (("--config=configs/digits.py", "--config.student=resnet9"), "resnet8x4"),
        (("--config=configs/digits.py", "--config.batch_size=2000"), "only 1437"),
        (
            ("--config=configs/digits.py", "--config.teacher.model=resnet32"),
            "is a resnet20 of 10 classes",
        ),
    ],
)
def test_a_mistake_ends_in_one_line(tmp_path, arguments, message):
    workdir = tmp_path / "run"
    done = main(*arguments, f"--workdir={workdir}")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert not workdir.exists()


def test_what_is_missing_is_told_in_one_line(tmp_path):
    done = main(
        "--config=configs/resnet8x4.py",
        f"--config.data_dir={tmp_path}",
        f"--config.teacher.checkpoint={tmp_path / 'teacher'}",
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "python -m da_jax.prepare --dataset cifar100" in done.stderr
    assert "python -m convert --all --source cifar_teachers.tar" in done.stderr
