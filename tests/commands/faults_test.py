"""Runs that are killed, asked to end, or go wrong: nothing is lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from da_jax.training.epoch import FIRST_STEP
from tests.commands.main_test import SHORT, in_python, main, records

REPOSITORY = Path(__file__).parent.parent.parent
COMMAND = ("--config=configs/digits.py", *SHORT, "--config.num_epochs=3")


def start(workdir, *arguments, devices=1):
    """The main command after its first step, or at its end if none was left."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    process = subprocess.Popen(
        [sys.executable, "-m", "da_jax.main", f"--workdir={workdir}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if line.startswith(FIRST_STEP):
            return process
    assert process.wait() == 0, process.stderr.read()
    return process


def outcome(workdir):
    """All of a finished run that must be the same to the bit."""
    results = json.loads((workdir / "results.json").read_text())
    newest = max(
        (path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()),
        key=lambda path: int(path.name),
    )
    (meta,) = (newest / "meta").rglob("metadata")
    arrays = json.loads(meta.read_text())["content"]["sha256"]
    history = [
        {name: value for name, value in record.items() if name != "seconds"}
        for record in records(workdir)
    ]
    best = json.loads((workdir / "best" / "sha256.json").read_text())
    return results["best"], results["last"], arrays, history, best


def uninterrupted(folder, *arguments, devices=1):
    process = start(folder, *COMMAND, *arguments, devices=devices)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return outcome(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("faults") / "whole"
    uninterrupted(folder)
    return folder


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_run_that_is_asked_to_end_goes_on_later(tmp_path, whole, number):
    """And while it is at it, no other process may be."""
    process = start(tmp_path / "run", *COMMAND)
    if number == signal.SIGTERM:
        process.send_signal(signal.SIGSTOP)
        second = main(*COMMAND, f"--workdir={tmp_path / 'run'}")
        process.send_signal(signal.SIGCONT)
        assert second.returncode == 2
        assert "another process is at the run" in second.stderr
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert f"ended by {number.name} after step" in errors and "Traceback" not in errors
    done = main(*COMMAND, f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert "resumed after step" in done.stdout
    assert outcome(tmp_path / "run") == outcome(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "devices", "arguments"),
    [(20, 1, ()), (3, 2, ("--config.num_seeds=2",))],
)
def test_a_run_that_is_killed_ends_with_the_same_bits(
    tmp_path, kills, devices, arguments
):
    begin = time.perf_counter()
    expected = uninterrupted(tmp_path / "whole", *arguments, devices=devices)
    most = time.perf_counter() - begin
    rng = random.Random(0)
    run = 0
    while kills:
        workdir = tmp_path / f"run{run}"
        process = start(workdir, *COMMAND, *arguments, devices=devices)
        try:
            _, errors = process.communicate(timeout=rng.uniform(0, most / 3))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills -= 1
            continue
        assert process.returncode == 0, errors
        assert outcome(workdir) == expected
        run += 1
    process = start(workdir, *COMMAND, *arguments, devices=devices)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert outcome(workdir) == expected


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    done = main(
        *COMMAND, f"--workdir={tmp_path}", "--config.optimizer.learning_rate=1e30"
    )
    assert done.returncode == 2
    assert "isn't finite any more: seed 0 at step" in done.stderr
    assert "checkpoint" not in done.stderr  # there is none yet
    assert "Traceback" not in done.stderr
    (record,) = records(tmp_path)
    assert record["diverged"].keys() == {"0"} and record["train_loss"] is None


@pytest.mark.slow
def test_of_several_seeds_the_others_go_on(tmp_path):
    done = in_python(
        "import jax; from da_jax.training.parallel import PmappedSteps as P;"
        "create = P.create_train_states;"
        "P.create_train_states = lambda self, *of: ((states := create(self, *of))[0],"
        " states[1].replace(params=jax.tree.map(lambda p: p * float('nan'),"
        " states[1].params)))",
        *COMMAND,
        f"--workdir={tmp_path}",
        "--config.num_seeds=2",
    )
    assert done.returncode == 0, done.stderr
    assert [record["diverged"] for record in records(tmp_path)] == [
        {"1": 1},
        {"1": 4},
        {"1": 7},
    ]
    results = json.loads((tmp_path / "results.json").read_text())
    assert [seed.get("diverged_at") for seed in results["seeds"]] == [None, 1]
    losses = [seed["last"]["test_loss"] for seed in results["seeds"]]
    assert losses[0] > 0 and losses[1] is None


@pytest.fixture
def small_disk(tmp_path):
    """A folder that holds 4 MB, a file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("this process may not mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_nothing(small_disk, whole):
    workdir = small_disk / "run"
    one_checkpoint = sum(
        file.stat().st_size for file in (whole / "checkpoints" / "9").rglob("*")
    )
    ballast = small_disk / "ballast"
    room = int(1.5 * one_checkpoint) + 100_000
    ballast.write_bytes(bytes(4 * 2**20 - room))
    done = main(*COMMAND, f"--workdir={workdir}")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "o space left on device" in done.stderr
    before = [path.name for path in (workdir / "checkpoints").glob("[0-9]")]
    assert before == ["3"]
    ballast.unlink()
    done = main(*COMMAND, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "resumed after step 3" in done.stdout
    assert outcome(workdir) == outcome(whole)
