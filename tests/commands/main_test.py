"""The main command as its users run it: a short run, resumed, and mistakes."""

import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from da_jax.commands.evaluate import evaluate
from da_jax.storage.model_folders import load_model
from da_jax.training.epoch import FIRST_STEP

REPOSITORY = Path(__file__).parent.parent.parent
SHORT = (
    "--config.batch_size=360",
    "--config.eval_batch_size=360",
    "--config.optimizer.decay_epochs=(1,)",
)


def in_python(preparation, *arguments):
    """The main command in a process that has prepared itself first."""
    return main(
        f"import sys; {preparation}; sys.argv = {['da_jax.main', *arguments]};"
        "import da_jax.main; da_jax.main.main()",
        module=None,
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


def shown_in_tensorboard(workdir):
    """What TensorBoard itself reads of the gallery: by name, an array for each step."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    accumulator = event_accumulator.EventAccumulator(
        str(workdir), size_guidance={"tensors": 0}
    )
    accumulator.Reload()
    return {
        name: {
            event.step: tensor_util.make_ndarray(event.tensor_proto)
            for event in accumulator.Tensors(name)
        }
        for name in accumulator.Tags()["tensors"]
        if name.startswith("gallery")
    }


def assert_gallery(workdir, steps):
    """Its pictures, how far pixels have moved, and the disagreement, at `steps`."""
    shown = shown_in_tensorboard(workdir)
    assert all(list(by_step) == steps for by_step in shown.values())
    for by_step in shown["gallery"].values():
        width, height, *pages = by_step.tolist()
        (page,) = [np.asarray(Image.open(io.BytesIO(page))) for page in pages]
        assert page.shape == (int(height), int(width), 3)
        assert page.std() > 10  # not an empty one
    for step in steps:
        disagreement = [
            float(shown[f"gallery/disagreement_after_{taken}_steps"][step])
            for taken in (0, 1, 5, 10)
        ]
        assert disagreement == sorted(disagreement) and disagreement[0] > 0
        for taken in (1, 5, 10):
            buckets = shown[f"gallery/distance_after_{taken}_steps"][step]
            assert buckets[:, 2].sum() == 4 * 32 * 32 * 3
            # Adam's steps are about α, and the first is no longer.
            assert 0.2 < buckets[-1, 1] / (taken * 0.01778) < 1.5


def lines_with(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def assert_same_records(found, expected):
    names = ("train_loss", "test_loss", "train_disagreement_before")
    for one, two in zip(found, expected, strict=True):
        assert [one[name] for name in names] == [two[name] for name in names]


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    """The folder of a run, and the end of its command."""
    workdir = tmp_path_factory.mktemp("two_epochs") / "run"
    done = main(
        *("--config=configs/digits.py", f"--workdir={workdir}", *SHORT),
        *("--config.num_epochs=2", "--config.profile_steps=2"),
    )
    assert done.returncode == 0, done.stderr
    return workdir, done


@pytest.fixture(scope="module")
def running_ahead(tmp_path_factory):
    """The same with a gallery, and a host that doesn't wait for its programs."""
    workdir = tmp_path_factory.mktemp("running_ahead") / "run"
    done = in_python(
        "from da_jax.training.parallel import PmappedSteps as P;"
        "from da_jax.commands.progress_bar import ProgressBar;"
        "P.runs_ahead = property(lambda self: True, lambda self, value: None);"
        "ProgressBar.log = lambda self, line: print(line, 'tensorflow' in sys.modules)",
        *("--config=configs/digits.py", f"--workdir={workdir}", *SHORT),
        *("--config.num_epochs=2", "--config.gallery_every=2"),
    )
    assert done.returncode == 0, done.stderr
    return workdir, done


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    """The same of a run of two seeds and one epoch."""
    workdir = tmp_path_factory.mktemp("two_seeds") / "run"
    done = main(
        *("--config=configs/digits.py", f"--workdir={workdir}", *SHORT),
        *("--config.num_epochs=1", "--config.num_seeds=2", "--config.gallery_every=5"),
    )
    assert done.returncode == 0, done.stderr
    return workdir, done


def test_tensorboard_shows_the_gallery(two_epochs, running_ahead, two_seeds):
    assert not shown_in_tensorboard(two_epochs[0])
    assert list(two_epochs[0].glob("events.out.tfevents.*"))
    assert_gallery(running_ahead[0], [6])
    assert_gallery(two_seeds[0], [3])  # after the last epoch at least


def test_a_run_that_was_resumed_equals_one_that_was_not(
    tmp_path, two_epochs, running_ahead
):
    """The second epoch's checkpoint is taken away: it is run again to the same bits."""
    workdir = tmp_path / "run"
    folder, done = two_epochs
    shutil.copytree(folder, workdir, symlinks=True)
    assert lines_with(done.stdout, FIRST_STEP)
    assert "resnet20 → resnet8 | KD + DA" in done.stdout
    whole = json.loads((workdir / "results.json").read_text())
    assert whole["command"].startswith("python -m da_jax.main --config=configs/digits")
    assert whole["device"]["cores"] == len(os.sched_getaffinity(0))
    first = records(workdir)
    assert [record["epoch"] for record in first] == [1, 2]
    assert first[1]["learning_rate"] == pytest.approx(0.005)
    assert list(workdir.glob("profile/**/perfetto_trace.json.gz"))
    assert list(workdir.glob("profile/**/*.xplane.pb"))

    shutil.rmtree(workdir / "checkpoints" / "6")
    command = ("--config=configs/digits.py", f"--workdir={workdir}", *SHORT)
    done = main(*command, "--config.num_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "resumed after step 3" in done.stdout
    again = json.loads((workdir / "results.json").read_text())
    assert again["last"] == whole["last"] and again["best"] == whole["best"]
    assert_same_records(first, records(workdir))

    ahead, done = running_ahead
    assert_same_records(first, records(ahead))
    digests = [folder / "best" / "sha256.json" for folder in (workdir, ahead)]
    assert digests[0].read_text() == digests[1].read_text()  # the gallery only looks
    (line,) = lines_with(done.stdout, FIRST_STEP)
    assert line.endswith("False")

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

    distilled = main(
        *(
            "--config=configs/digits.py:kd",
            f"--workdir={tmp_path / 'distilled'}",
            *SHORT,
        ),
        *("--config.num_epochs=1", "--config.teacher.model=resnet8"),
        f"--config.teacher.checkpoint={workdir / 'best'}",
    )
    assert distilled.returncode == 0, distilled.stderr


def test_compiled_programs_are_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    arguments = ("--model", "resnet20", "--checkpoint", "checkpoints/digits_resnet20")
    done = main(*arguments, "--dataset", "digits", module="da_jax.evaluate")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "da_jax").iterdir())


def test_several_seeds(two_seeds):
    workdir, done = two_seeds
    results = json.loads((workdir / "results.json").read_text())
    top1 = [seed["last"]["test_top1"] for seed in results["seeds"]]
    assert [seed["seed"] for seed in results["seeds"]] == [0, 1]
    mean, std = statistics.mean(top1), statistics.stdev(top1)
    assert results["last"]["test_top1"] == pytest.approx(mean)
    assert results["last"]["test_top1_std"] == pytest.approx(std)
    assert f"last {mean:.2f} ± {std:.2f} % | 2 seeds" in done.stdout
    (record,) = records(workdir)
    losses = [of_seed["train_loss"] for of_seed in record["seeds"]]
    assert losses[0] != losses[1]
    assert record["train_loss"] == pytest.approx(statistics.mean(losses))
    for seed in (0, 1):
        description = json.loads((workdir / f"seed_{seed}" / "model.json").read_text())
        assert description["seed"] == seed
        assert description["test_top1"] == top1[seed]
    best = json.loads((workdir / "best" / "model.json").read_text())
    assert best["test_top1"] == max(top1)


def test_what_is_held_out_chooses_and_the_test_set_is_read_at_the_end(tmp_path):
    done = in_python(
        "from da_jax.data import interface;"
        "interface.Dataset.test = property("
        "lambda self: (print('the test set is read'), self.read_test())[1])",
        *("--config=configs/digits.py", f"--workdir={tmp_path}", *SHORT),
        *("--config.num_epochs=2", "--config.validation_size=180"),
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "validation" in line]
    first = [line.split()[:2] for line in said]
    assert first == [["data", "digits:"], ["epoch", "1"], ["epoch", "2"]]
    assert done.stdout.index("the test set is read") > done.stdout.index(said[1])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["protocol"] == "validation"
    assert "chosen on held-out examples" in done.stdout
    history = records(tmp_path)
    assert all("test_top1" not in record for record in history)
    best = max(record["validation_top1"] for record in history)
    assert results["best"]["validation_top1"] == best
    evaluated = main(
        *("--model", "resnet8", "--checkpoint", tmp_path, "--dataset", "digits"),
        *("--json", tmp_path / "figures.json"),
        module="da_jax.evaluate",
    )
    assert evaluated.returncode == 0, evaluated.stderr
    top1 = json.loads((tmp_path / "figures.json").read_text())["top1"]
    assert results["best"]["test_top1"] == pytest.approx(top1, abs=1e-4)
    folder = REPOSITORY / "checkpoints" / "digits_resnet20"
    teacher = evaluate("resnet20", folder, "digits", data_dir=tmp_path)
    assert results["teacher"]["test_top1"] == pytest.approx(teacher["top1"])
    assert results["teacher"]["test_loss"] == pytest.approx(teacher["loss"], rel=1e-4)


def test_fewer_evaluations_change_nothing_else(tmp_path):
    """Two seeds evaluated on held-out images, resumed where there was no evaluation."""
    command = (
        *("--config=configs/digits.py", *SHORT, "--config.num_seeds=2"),
        *("--config.train_size=900", "--config.validation_size=180"),
        *("--config.num_epochs=5", "--config.checkpoint_every=3"),
    )
    every, few = tmp_path / "every", tmp_path / "few"
    done = main(*command, f"--workdir={every}")
    assert done.returncode == 0, done.stderr
    command = (*command, "--config.eval_every=4", f"--workdir={few}")
    done = main(*command)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert ["validation" in line for line in said] == [False] * 3 + [True] * 2

    def of_seeds(workdir, prefix):
        return [
            [
                {name: value for name, value in seed.items() if name.startswith(prefix)}
                for seed in record["seeds"]
            ]
            for record in records(workdir)
        ]

    assert of_seeds(few, "train") == of_seeds(every, "train")
    evaluated = of_seeds(every, "validation")
    assert of_seeds(few, "validation") == [[{}, {}]] * 3 + evaluated[3:]
    results = json.loads((few / "results.json").read_text())
    for index, seed in enumerate(results["seeds"]):
        top1 = {
            epoch: evaluated[epoch - 1][index]["validation_top1"] for epoch in (4, 5)
        }
        assert seed["best"]["epoch"] == max(top1, key=top1.get)
        assert seed["best"]["validation_top1"] == max(top1.values())
        assert seed["last"]["epoch"] == 5

    shutil.rmtree(few / "checkpoints" / "10")
    newest = load_model(few, last=True)  # without an evaluation it is the best one
    for one, two in zip(
        jax.tree.leaves(load_model(few).variables),
        jax.tree.leaves(newest.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    first = records(few)
    done = main(*command)
    assert done.returncode == 0, done.stderr
    assert "resumed after step 6" in done.stdout
    again = json.loads((few / "results.json").read_text())
    assert again["seeds"] == results["seeds"]
    assert of_seeds(few, "") == [record["seeds"] for record in first]


def two_processes(*arguments):
    """Of one device each; what they have written to standard output."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    joined = (f"--coordinator_address=localhost:{port}", "--num_processes=2")
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "da_jax.main", *arguments, *joined),
                f"--process_id={process}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"XLA_FLAGS": ""},
        )
        for process in range(2)
    ]
    done = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, done, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in done]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["batch", "seeds"])
def test_of_two_processes_the_first_writes_and_both_resume(tmp_path, parallel):
    workdir = tmp_path / "run"
    command = (
        *("--config=configs/digits.py", f"--workdir={workdir}", *SHORT),
        *("--config.num_epochs=2", "--config.num_seeds=2"),
        f"--config.parallel={parallel}",
    )
    first, second = two_processes(*command)
    assert "2 seeds" in first and "epoch" not in second
    whole = json.loads((workdir / "results.json").read_text())
    assert whole["device"]["count"] == 2
    assert len(records(workdir)) == 2

    shutil.rmtree(workdir / "checkpoints" / "6")
    first, _ = two_processes(*command)
    assert "resumed after step 3" in first
    again = json.loads((workdir / "results.json").read_text())
    assert again["seeds"] == whole["seeds"]


def test_without_tensorflow_a_run_does_without_tensorboard(tmp_path):
    """And the options that no other run has: random start, last batch, no labels."""
    done = in_python(
        "sys.modules['tensorflow'] = None",
        *("--config=configs/digits.py", f"--workdir={tmp_path}"),
        *(SHORT[1], SHORT[2], "--config.num_epochs=1", "--config.batch_size=400"),
        *("--config.drop_remainder=False", "--config.use_labels=False"),
        *("--config.disagreement.random_init=True", "--config.gallery_every=1"),
    )
    assert done.returncode == 0, done.stderr
    assert "no TensorBoard summaries: tensorflow isn't installed" in done.stdout
    assert not list(tmp_path.glob("events.out.tfevents.*"))
    (record,) = records(tmp_path)
    assert record["step"] == 4  # 1,437 = 3 × 400 + 237
    assert record["train_loss_ce"] == 0 < record["train_loss_kd"]
    assert (
        json.loads((tmp_path / "results.json").read_text())["seeds"][0]["best"]["epoch"]
        == 1
    )


def test_what_is_missing_is_told_in_one_line(tmp_path):
    done = main(
        "--config=configs/resnet8x4.py",
        f"--config.data_dir={tmp_path}",
        f"--config.teacher.checkpoint={tmp_path / 'teacher'}",
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "da-jax prepare --dataset cifar100" in done.stderr
    assert "da-jax convert --all --source cifar_teachers.tar" in done.stderr
