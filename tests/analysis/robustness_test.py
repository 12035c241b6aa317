"""The recorded ascent, compared with PyTorch; the measurements and their command."""

import dataclasses
import json
import runpy
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax import data as datasets
from da_jax import methods, models
from da_jax.analysis.pretrained import Pretrained
from da_jax.analysis.recording import record_ascent
from da_jax.analysis.robustness import figure, measurements
from da_jax.analysis.robustness.measurements import Comparison, NamedNetwork
from da_jax.analysis.robustness.settings import Settings
from da_jax.data import Examples, load_dataset
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.models import create_model
from da_jax.storage.model_folders import Model, save_model
from tests import golden, parity
from tests.commands.main_test import main
from tests.examples_test import EXAMPLE
from tests.golden import weights

NETWORKS = ("kd", "da", "teacher")


def robustness(*arguments):
    own = ("--dataset=digits", f"--config={EXAMPLE}")
    return main(*own, *arguments, module="da_jax.robustness")


def torch_forward_eval(student, teacher, images, learning_rate, steps):
    """Runs the original's `forward_eval`, which discards its last update."""
    torch = pytest.importorskip("torch")
    moved = images.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")
    seen = []
    for _ in range(steps + 1):
        logits = student(moved), teacher(moved)
        normalized = [torch.nn.functional.normalize(of, p=1.0, dim=-1) for of in logits]
        loss = -torch.nn.functional.mse_loss(*normalized)
        (moved.grad,) = torch.autograd.grad(loss, moved)
        loss = loss.detach()
        seen.append([value.detach().clone() for value in (*logits, loss, moved)])
        optimizer.step()
        scheduler.step(loss)
    rate = optimizer.param_groups[0]["lr"]
    return [np.stack(values) for values in zip(*seen, strict=True)], rate


def golden_networks(seed):
    """Returns our and PyTorch's resnet8 as functions of images, in float64."""
    shapes = golden.load("models")[0]["resnet8"]["shapes"]
    variables = parity.variables("resnet8", seed, jnp.float64)
    network = create_model("resnet8", dtype=jnp.float64)
    state_dict = {
        key: array.astype(np.float64) if array.ndim else array
        for key, array in weights.state_dict(shapes, seed).items()
    }
    return (
        lambda images: network.apply(variables, images, train=False)[0],
        parity.torch_resnet("resnet8", state_dict),
    )


def test_ascent_equals_pytorch_s_forward_eval(x64):
    """The second learning rate is so large that the plateau cuts it."""
    torch = pytest.importorskip("torch")
    steps = 13
    ours, theirs = zip(*map(golden_networks, (1, 2)), strict=True)
    images = PREPROCESSING.normalize(golden.cifar100()[0][:2], jnp.float64)
    start = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    record = jax.jit(record_ascent, static_argnums=(0, 1, 3))
    for learning_rate, last_rate in ((0.01778, 0.01778), (1e4, 1e3)):
        (student_logits, teacher_logits, losses, moved), rate = torch_forward_eval(
            *theirs, start, learning_rate, steps
        )
        recording = record(*ours, images, steps, learning_rate)
        np.testing.assert_allclose(recording.student_logits, student_logits, atol=1e-8)
        np.testing.assert_allclose(recording.teacher_logits, teacher_logits, atol=1e-8)
        found = recording.disagreement.mean(axis=-1)
        np.testing.assert_allclose(found, -losses, rtol=1e-8)
        np.testing.assert_allclose(
            (recording.images - images) / learning_rate,
            (moved - start.numpy()).transpose(0, 1, 3, 4, 2) / learning_rate,
            atol=1e-6,
        )
        assert rate == pytest.approx(last_rate)


class Linear(nn.Module):
    """A network that compiles fast."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(10)(images.reshape(len(images), -1)), {}


def linear_comparison(count=37, **settings):
    images, labels = (array[:count] for array in golden.cifar100())
    examples = Examples(images, labels % 10)

    def network(name, seed):
        variables = Linear().init(jax.random.key(seed), jnp.zeros((1, 32, 32, 3)))
        network = Pretrained(Path(name), "Linear", 10, Linear(), variables)
        return NamedNetwork(name, network, PREPROCESSING)

    student, teacher = network("student", 0), network("teacher", 1)
    return Comparison([student], teacher, examples, Settings(**settings))


def part_of(comparison, part):
    images, labels = comparison.examples
    return dataclasses.replace(
        comparison, examples=Examples(images[part], labels[part])
    )


def test_every_image_counts_in_a_batch_of_its_size():
    """37 images are two batches of 16 and one of 5."""
    comparison = linear_comparison(batch_size=16, steps=4, learning_rate=0.01778)
    whole = measurements.measure_disagreement(comparison)["student"]
    parts = [slice(0, 16), slice(16, 32), slice(32, 37)]
    for name, values in whole.items():
        expected = 0.0
        for part in parts:
            of_part = part_of(comparison, part)
            of_part = measurements.measure_disagreement(of_part)["student"][name]
            expected += np.array(of_part) * (part.stop - part.start) / 37
        np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert np.all(np.diff(whole["disagreement"]) > 0)
    clean = measurements.measure_clean(comparison)
    assert (whole["student"][0], whole["teacher"][0]) == tuple(clean.values())
    together = dataclasses.replace(comparison.settings, batch_size=37)
    comparison.settings = together
    moved = measurements.measure_disagreement(comparison)["student"]["disagreement"]
    assert moved[1] != pytest.approx(whole["disagreement"][1], rel=1e-6)


@pytest.mark.parametrize("part", ["clean", "attacks", "corruptions"])
def test_the_rest_does_not_depend_on_the_batch_size(monkeypatch, part):
    measure = {**measurements.MEASUREMENTS, "clean": measurements.measure_clean}[part]
    comparison = linear_comparison(iterations=3)
    whole = measure(comparison)
    monkeypatch.setattr(measurements, "BATCH_SIZE", 8)
    assert measure(comparison) == whole
    comparison.settings = dataclasses.replace(comparison.settings, seed=1)
    seen = []
    comparison.on_progress = seen.append
    other = measure(comparison)
    assert part != "corruptions" or other != whole
    assert sum(seen) == measurements.count_progress(part, comparison)


def test_the_bar_knows_the_ascent_s_length():
    comparison = linear_comparison(batch_size=16, steps=4)
    seen = []
    comparison.on_progress = seen.append
    measurements.measure_disagreement(comparison)
    assert (
        sum(seen) == measurements.count_progress("disagreement", comparison) == 37 * 5
    )


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The example's ConvNet three times, with random features and fitted classifiers.

    The folder they are in, and their accuracies on the first 128 test images.
    """
    folder = tmp_path_factory.mktemp("networks")
    data = load_dataset("digits", Path("unused"))
    with pytest.MonkeyPatch.context() as patch:
        for module, table in (
            (models, "MODELS"),
            (methods, "METHODS"),
            (datasets, "DATASETS"),
        ):
            patch.setattr(module, table, dict(getattr(module, table)))
        runpy.run_path(EXAMPLE)
        network = create_model("ConvNet", 10)
    apply = jax.jit(network.apply)
    inputs, tested = (
        data.preprocessing.normalize(images, jnp.float32)
        for images in (data.train.images[:500], data.test.images[:128])
    )
    accuracies = {}
    for seed, name in enumerate(NETWORKS):
        variables = network.init(jax.random.key(seed), inputs[:1])
        _, features = apply(variables, inputs)
        columns = np.c_[features["pooled_feat"], np.ones(len(inputs))]
        targets = np.eye(10)[data.train.labels[:500]]
        fit = np.linalg.lstsq(columns, targets, rcond=1e-3)[0].astype(np.float32)
        fc = {"kernel": fit[:-1], "bias": fit[-1]}
        variables = {**variables, "params": {**variables["params"], "fc": fc}}
        save_model(folder / name, Model("ConvNet", 10, variables), {})
        logits, _ = apply(variables, tested)
        accuracies[name] = 100 * float(
            np.mean(logits.argmax(1) == data.test.labels[:128])
        )
    return folder, accuracies


def test_the_command_measures_what_it_is_asked(networks):
    folder, accuracies = networks
    sizes = ("--num_images=128", "--steps=2", "--iterations=3", "--budgets=0.25,0.75")
    named = (f"--student={folder / 'kd'}", f"--student=other={folder / 'da'}")
    done = robustness(*named, f"--teacher={folder / 'teacher'}", *sizes)
    assert done.returncode == 0, done.stderr
    output = folder / "kd" / "robustness"
    results = json.loads((output / "robustness.json").read_text())
    names = ["kd", "other", "teacher"]
    assert [of["name"] for of in results["students"]] == names[:2]
    assert results["teacher"]["folder"] == str(folder / "teacher")
    assert results["num_images"] == 128
    expected = {"steps": 2, "learning_rate": 0.01778, "batch_size": 64, "seed": 0}
    assert expected.items() <= results["settings"].items()
    assert results["versions"]["jax"] == jax.__version__
    assert list(results["clean"]) == names
    assert list(results["clean"].values()) == pytest.approx(list(accuracies.values()))
    assert min(accuracies.values()) > 90
    for student, curves in results["disagreement"].items():
        assert curves["student"][0] == results["clean"][student]
        assert curves["teacher"][0] == results["clean"]["teacher"]
        assert curves["disagreement"] == sorted(curves["disagreement"])
        assert [len(curve) for curve in curves.values()] == [3, 3, 3]
    for name in names:
        for values in results["attacks"][name].values():
            assert results["clean"][name] > values[0] > values[1]
        assert len(results["corruptions"][name]["Gaussian blur"]) == 5
    assert f"{results['clean']['other']:.2f}" in done.stdout
    assert "0.25/255" in done.stdout and str(output) in done.stdout
    png = (output / "robustness.png").read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) < 150_000

    (picture,) = results["pictures"]
    assert picture["file"] == "robustness.png"
    pgd = results["attacks"]["other"]["PGD"][-1]
    told = f"other {results['clean']['other']:.1f} → {pgd:.1f} %"
    assert "PGD, budget in L∞ (255ths) 0 to 0.75:" in picture["alt"]
    assert told in picture["alt"]
    panels = figure.create_panels(results)
    titles = ["Disagreement Augmentation", "FGSM", "PGD", "APGD-CE"]
    assert [panel.title for panel in panels[:4]] == titles
    drawn = figure.draw(results).axes
    for panel, ax in zip(panels, drawn, strict=True):
        lines = [list(line.get_ydata()) for line in ax.lines]
        assert lines == [line.accuracies for line in panel.curves]
        assert all(len(line) == len(panel.strengths) for line in lines)
    fgsm = [of["FGSM"] for of in results["attacks"].values()]
    assert [list(line.get_ydata())[1:] for line in drawn[1].lines] == fgsm


def test_without_matplotlib_it_says_so_before_it_starts(tmp_path, networks):
    """With --no_figure it runs without matplotlib."""
    folder, _ = networks
    output = tmp_path / "deep" / "output"

    def robustness(*options):
        arguments = [
            *("x", "--dataset=digits", f"--config={EXAMPLE}", f"--output={output}"),
            *(f"--student={folder / 'kd'}", f"--teacher={folder / 'teacher'}"),
            *options,
        ]
        return main(
            "import sys, runpy; sys.modules['matplotlib'] = None;"
            f"sys.argv = {arguments}; runpy.run_module('da_jax.robustness', {{}},"
            " '__main__', alter_sys=True)",
            module=None,
        )

    done = robustness()
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "'da-jax[plots]'" in done.stderr
    assert not output.exists()

    done = robustness("--only=corruptions", "--no_figure")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in output.iterdir()] == ["robustness.json"]
    results = json.loads((output / "robustness.json").read_text())
    assert {"disagreement", "attacks"}.isdisjoint(results)
    assert results["num_images"] == 360
    assert len(results["corruptions"]["teacher"]["Gaussian noise"]) == 5
