"""Weights & Biases: what a run has logged offline, as W&B's own format has it."""

import json
import shutil
import struct
import subprocess
import sys

import pytest

from da_jax.training.weights_and_biases import WeightsAndBiases
from tests.commands.main_test import REPOSITORY, SHORT, in_python, main, records

pytest.importorskip("wandb", reason="wandb isn't installed")

ONLINE = ("--config=configs/digits.py", "--config.wandb.mode=online")


def logged(file):
    """The records in a `.wandb` file: W&B's protobufs in LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    position, parts = 7, b""  # after W&B's own header
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def contents(workdir):
    """Each of W&B's folders: the run's id, its config, its history, its exit code."""
    for file in sorted(workdir.glob("wandb/offline-run-*/*.wandb")):
        found = {"history": []}
        for record in logged(file):
            if record.HasField("run"):
                found["id"] = record.run.run_id
                found["project"] = record.run.project
                found["config"] = {
                    update.key: json.loads(update.value_json)
                    for update in record.run.config.update
                }
            if record.HasField("history"):
                found["history"].append(
                    {
                        "/".join(item.nested_key) or item.key: float(item.value_json)
                        for item in record.history.item
                    }
                )
            if record.HasField("exit"):
                found["exit"] = record.exit.exit_code
        yield found


def test_an_offline_run_has_every_epoch_and_goes_on_as_the_same(short_runs, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(short_runs / "one", workdir, symlinks=True)
    (first,) = contents(workdir)
    assert first["exit"] == 0 and first["project"] == "da-jax"
    config = json.loads((workdir / "config.json").read_text())
    assert {name: first["config"][name] for name in config} == config
    written = records(workdir)
    for line, record in zip(first["history"], written, strict=True):
        assert line["_step"] == record["step"]
        finite = {name for name, value in record.items() if value is not None}
        assert finite - line.keys() == {"step"}
        for name in finite - {"step"}:
            assert line[name] == pytest.approx(record[name]), name

    log = []
    writer = WeightsAndBiases(workdir, config, log.append)  # as a resumed run opens it
    for record in written:
        writer.write(record["step"], {"test_top1": record["test_top1"]})
    writer.close(failed=True)
    assert not log  # offline there is no address to tell
    _, second = contents(workdir)
    assert (
        second["id"]
        == first["id"]
        == json.loads((workdir / "wandb.json").read_text())["id"]
    )
    assert [line["_step"] for line in second["history"]] == [3]
    assert second["exit"] == 1


@pytest.mark.slow
def test_a_run_that_is_resumed_tells_its_whole_history(tmp_path):
    command = (
        *("--config=configs/digits.py", f"--workdir={tmp_path}", *SHORT),
        *("--config.num_epochs=2", "--config.wandb.mode=offline"),
    )
    assert main(*command).returncode == 0
    shutil.rmtree(tmp_path / "checkpoints" / "6")
    done = main(*command)
    assert done.returncode == 0, done.stderr
    assert "resumed after step 3" in done.stdout
    first, second = contents(tmp_path)
    assert second["id"] == first["id"]
    assert [line["epoch"] for line in second["history"]] == [1, 2]
    for one, two in zip(first["history"], second["history"], strict=True):
        assert one["test_loss"] == two["test_loss"]


def test_several_seeds_have_names_of_their_own(tmp_path):
    from da_jax.training.writers import RunWriters

    config = {"wandb": {"mode": "offline", "project": "of_two"}}
    record = {"epoch": 1, "step": 5, "learning_rate": 0.1, "seconds": 1.0}
    figures = {"train_loss": 1.0, "train_top1": 9.0, "test_top1": 8.0, "test_top5": 9.0}
    record |= figures | {"test_loss": None}
    record["seeds"] = [{"seed": 3, **figures}, {"seed": 4, **figures, "train_loss": 2}]
    with RunWriters(tmp_path, [], config, print) as writers:
        writers._writers = writers._writers[1:]  # TensorFlow takes seconds to start
        writers.write(record)
    (found,) = contents(tmp_path)
    (line,) = found["history"]
    assert (line["seed_3/train_loss"], line["seed_4/train_loss"]) == (1, 2)
    assert "test_loss" not in line and found["project"] == "of_two"


@pytest.mark.skipif(not shutil.which("strace"), reason="strace isn't installed")
def test_offline_no_host_is_spoken_to(tmp_path):
    code = (
        "from pathlib import Path; from da_jax.training.weights_and_biases import *;"
        "config = {'wandb': {'mode': 'offline', 'project': 'da-jax'}}; check(config);"
        f"writer = WeightsAndBiases(Path({str(tmp_path)!r}), config, print);"
        "writer.write(1, {'loss': 1.0}); writer.close(failed=False)"
    )
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=connect,sendto", "-o", trace]
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this process may not be traced")
    assert done.returncode == 0, done.stderr
    assert list(contents(tmp_path))
    calls = [line for line in trace.read_text().splitlines() if "connect(" in line]
    assert calls and not [call for call in calls if "AF_INET" in call]


@pytest.fixture
def no_key(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("key", "message"), [(None, "no key of Weights & Biases"), ("short", "40+")]
)
def test_online_without_a_key_nobody_is_asked(
    tmp_path, monkeypatch, no_key, key, message
):
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    done = main(*ONLINE, f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert message in done.stderr and not (tmp_path / "run").exists()


def test_a_missing_package_is_named_before_anything_compiles(tmp_path):
    (tmp_path / "wandb").mkdir()  # which W&B leaves where it has run
    done = in_python(
        "import jax; jax.devices = lambda *_: sys.exit(99);"
        f"sys.modules['wandb'] = None; sys.path.insert(0, {str(tmp_path)!r})",
        *ONLINE,
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "pip install 'da-jax[wandb]'" in done.stderr
    assert not (tmp_path / "run").exists()
