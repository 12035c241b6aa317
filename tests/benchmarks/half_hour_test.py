"""`benchmarks.half_hour` after a kill, after a crash and without libraries."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import clu.metrics
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from da_jax.configs import default

from benchmarks.half_hour import archives, child, stand_ins, training
from benchmarks.half_hour.journal import Journal
from benchmarks.half_hour.sizes import FULL, REHEARSAL
from benchmarks.half_hour.stages import checks, speed
from da_jax.config.checks import check_config
from da_jax.errors import UserError
from da_jax.storage.run_checkpoints import RunCheckpoint, RunCheckpoints

REPOSITORY = Path(__file__).parent.parent.parent
BLOCK = "import sys\n" + "".join(
    f"sys.modules[{name!r}] = None\n"
    for name in ("clu", "ml_collections", "tensorflow", "tensorflow_datasets")
)


def command(output, *arguments):
    return [
        *(sys.executable, "-m", "benchmarks.half_hour", f"--output={output}"),
        *("--rehearse", *arguments),
    ]


def environment(**others):
    return os.environ | {"XLA_FLAGS": ""} | others


def call(output, *arguments, **others):
    """Runs a call of the rehearsal and returns its output."""
    done = subprocess.run(
        command(output, *arguments),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment(**others),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stand_ins_equal_the_libraries():
    values, mask = jnp.array([1.0, 2.0, 4.0]), jnp.array([True, False, True])
    ours = stand_ins.Average.from_model_output(values, mask=mask)
    theirs = clu.metrics.Average.from_model_output(values, mask=mask)
    for name in ("total", "count"):
        one, two = getattr(ours, name), getattr(theirs, name)
        assert one == two and one.dtype == two.dtype
    assert ours.compute() == theirs.compute()
    assert len(jax.tree.leaves(ours)) == 2

    made = [ml_collections.ConfigDict(), stand_ins.ConfigDict()]
    for config in made:
        config.name = "run"
        config.teacher = type(config)()
        config.teacher.model = ""
        config.update({"KD": {"temperature": 4.0}, "teacher": {"model": "resnet8"}})
        config.KD.temperature = 2.0
        copy = config.copy_and_resolve_references()
        copy.KD.temperature = 1.0
        with pytest.raises(AttributeError):
            _ = config.nothing
    one, two = made
    assert one.to_dict() == two.to_dict() and one["teacher"]["model"] == "resnet8"
    assert one.get("nothing") is None is two.get("nothing")


def test_stand_ins_make_the_configs(tmp_path):
    """The default config and its checks work without both libraries."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    program = (
        "from benchmarks.half_hour import stand_ins;"
        "assert len(stand_ins.install()) == 2;"
        "from da_jax.configs import resnet20;"
        "from da_jax.config.checks import check_config;"
        "import json; config = resnet20.get_config('kd'); check_config(config);"
        "print(json.dumps(config.to_dict()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment(PYTHONPATH=str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    config = default.create("resnet20", ["resnet56", "resnet110"], "kd")
    check_config(config)
    assert json.loads(done.stdout) == json.loads(json.dumps(config.to_dict()))


def tree(seed):
    rng = np.random.default_rng(seed)
    return {
        "params": {"kernel": rng.normal(size=(64, 33)).astype(np.float32)},
        "batch_stats": {"mean": rng.normal(size=5).astype(np.float32)},
        "step": np.int32(seed),
        "auxiliary": {},
        "opt_state": {"0": {}, "1": {"0": {"trace": np.ones(3)}, "1": {}}},
    }


@pytest.mark.parametrize("part_bytes", [2**20, 3000])
def test_an_archive_holds_the_run_and_equal_arrays_once(
    tmp_path, monkeypatch, part_bytes
):
    monkeypatch.setattr(archives, "PART_BYTES", part_bytes)
    output, workdir = tmp_path / "output", tmp_path / "one" / "run"
    output.mkdir()
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text('{"seed": 3}')
    student = tree(7)
    best = {name: student[name] for name in ("params", "batch_stats")}
    older = [tree(5)]  # without an evaluation the newest is archived
    older = [{name: other[name] for name in best} for other in older]
    checkpoint = RunCheckpoint("resnet8", 100, [student], older, 0, [{"epoch": 1}])
    checkpoints = RunCheckpoints(workdir)
    checkpoints.save(checkpoint)
    checkpoints.close()
    (output / "run.zip.9").write_bytes(b"of a longer archive")
    archives.save_run(workdir, output)
    files = archives.parts(output, "run")
    assert (len(files) > 1) == (part_bytes == 3000)
    assert all(file.stat().st_size <= part_bytes for file in files)
    if len(files) == 1:
        with zipfile.ZipFile(files[0]) as archive:
            assert len(archive.namelist()) == 5  # meta.json and four arrays

    again = tmp_path / "two" / "run"
    archives.restore_run(output, again)
    assert json.loads((again / "config.json").read_text()) == {"seed": 3}
    restored = RunCheckpoints(again).restore()
    assert restored.history == checkpoint.history
    jax.tree.map(
        np.testing.assert_array_equal,
        [restored.students, restored.best],
        [checkpoint.students, [best]],
    )

    files[-1].write_bytes(files[-1].read_bytes()[:-40])  # cut off
    archives.restore_run(output, tmp_path / "three" / "run")
    assert not (tmp_path / "three").exists()


def test_weights_join_those_of_other_runs_unless_they_are_large(tmp_path, monkeypatch):
    file = tmp_path / training.WEIGHTS
    for name in ("one", "two", "one"):
        archives.add_weights(file, name, name.encode())
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["one.safetensors", "two.safetensors"]
        assert archive.read("two.safetensors") == b"two"
    monkeypatch.setattr(archives, "PART_BYTES", 6)
    archives.add_weights(file, "large", b"0123456789")
    found = [tmp_path / f"large.safetensors.{index}" for index in range(2)]
    assert b"".join(part.read_bytes() for part in found) == b"0123456789"
    assert len(list(tmp_path.iterdir())) == 3


def test_tasks_have_distinct_names_and_runs_are_in_order():
    for size in (FULL, REHEARSAL):
        tasks = checks(size, REPOSITORY) + speed(size)
        assert len({task.name for task in tasks}) == len(tasks)
    runs = training.specs(FULL)
    assert [run.name for run in runs[:4]] == [
        "resnet56_resnet20_kd_seed0",
        "resnet56_resnet20_da_seed0",
        "resnet56_resnet20_kd_seed1",
        "resnet56_resnet20_da_seed1",
    ]
    assert runs[-1].name == "teacher_resnet32x4"


def test_a_crash_ends_only_its_task(tmp_path):
    ended = child.run("checks:golden_vectors", {"kind": "nothing"}, 100.0)
    assert ended.returncode == 1 and ended.result is None
    journal = Journal(tmp_path, "stage", "full")
    journal.fail("golden", ended, 3.0)
    again = Journal(tmp_path, "stage", "full")
    assert again.is_done("golden") and not again.is_finished
    assert not again.is_done("golden", attempts=2)
    again.fail("golden", ended, 3.0)
    assert again.is_done("golden", attempts=2)
    again.fail("slow", child.Ended(None, None, ""), 60.0)
    assert again.is_done("slow", limit=60.0) and not again.is_done("slow", limit=120.0)
    with pytest.raises(UserError, match="holds a full call's files"):
        Journal(tmp_path, "stage", "rehearsal")
    assert "KeyError: 'nothing'" in again.tasks["golden"]["said"]


def test_a_task_ends_when_its_time_is_over():
    start = time.monotonic()
    ended = child.run("checks:first_steps_of_digits", {"steps": 9, "teacher": ""}, 0.5)
    assert ended.returncode is None
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--cifar100 FOLDER is missing"),
        (("--cifar100=nowhere", "--rehearse"), "there is no --cifar100 nowhere"),
        (("--teachers=nowhere", "--rehearse"), "there is no nowhere/cifar100_resnet20"),
        (("--rehearse", "--minutes=0.5"), "--minutes is 0.5; give 1"),
    ],
)
def test_missing_inputs_are_one_line(tmp_path, arguments, message):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.half_hour", *arguments),
            f"--output={tmp_path}",
        ],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_short_call_starts_and_its_tasks_use_the_device(tmp_path):
    """The parent computes on the CPU, and its tasks don't inherit that."""
    others = {name: value for name, value in os.environ.items() if "JAX_PL" not in name}
    done = subprocess.run(
        command(tmp_path, "--minutes=1"),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=others | {"XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "the same command resumes from here" in done.stdout
    stage = json.loads((tmp_path / "1_checks.json").read_text())
    device = stage["tasks"]["device"]["found"]["figures"]
    assert device["environment"]["JAX_PLATFORMS"] is None
    assert device["platform"] == jax.devices()[0].platform
    assert not stage["finished"]


def comparable(output):
    """Returns the parts of an output that don't depend on the machine's speed."""
    files = {path.name: path for path in output.iterdir()}
    content = {name: path.read_bytes() for name, path in files.items()}
    found = {}
    for name in ("1_checks.json", "2_speed.json", "3_training.json"):
        stage = json.loads(content.pop(name))
        assert stage["finished"]
        found[name] = {task: entry["state"] for task, entry in stage["tasks"].items()}
        if name == "3_training.json":
            metrics = {
                task: [
                    {key: value for key, value in record.items() if key != "seconds"}
                    for record in entry["found"]["metrics"]
                ]
                for task, entry in stage["tasks"].items()
            }
            found["metrics"] = metrics
    return found | content


@pytest.mark.slow
def test_the_rehearsal_killed_in_every_stage_ends_with_the_same_files(tmp_path):
    pytest.importorskip("torch")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    said = call(whole, "--minutes=60", PYTHONPATH=str(tmp_path))
    assert "everything is done" in said and "failed" not in said
    expected = comparable(whole)
    device = json.loads((whole / "1_checks.json").read_text())["tasks"]["device"]
    seen = device["found"]["figures"]["environment"]["JAX_PLATFORMS"]
    assert seen == os.environ.get("JAX_PLATFORMS")
    assert set(expected["1_checks.json"].values()) == {"done"}
    assert len(list(whole.iterdir())) <= 8

    killed.mkdir()
    for wanted in ("1_checks.json", "2_speed.json", "*.zip", "*_da_seed0.zip"):
        process = subprocess.Popen(
            command(killed, "--minutes=60"),
            cwd=REPOSITORY,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not list(killed.glob(wanted)):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.2)
        time.sleep(2.0)  # into the next task
        process.send_signal(signal.SIGKILL)
        process.wait()
        names = {path.name for path in killed.iterdir()}
        assert len(names) <= 8
    call(killed, "--minutes=60")
    assert comparable(killed) == expected
    shutil.rmtree(killed)


@pytest.mark.slow
def test_short_calls_resume_until_everything_is_done(tmp_path):
    pytest.importorskip("torch")
    calls = 1
    while "everything is done" not in call(tmp_path, "--minutes=4"):
        calls += 1
        assert calls < 40
    assert calls > 1
    stage = json.loads((tmp_path / "2_speed.json").read_text())
    assert all(task["state"] == "done" for task in stage["tasks"].values())
