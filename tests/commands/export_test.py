"""Exported weights: exact round trips, and equal logits in plain PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from da_jax import export
from da_jax.analysis.pretrained import load_pretrained
from da_jax.commands.evaluate import evaluate
from da_jax.data import digits
from da_jax.errors import UserError
from da_jax.models import MODELS, create_model
from da_jax.storage.model_folders import Model, load_model, save_model
from da_jax.storage.model_formats import FORMATS
from tests.parity import variables

REPOSITORY = Path(__file__).parent.parent.parent
FAMILIES = ("resnet8", "ResNet18", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1")


@pytest.fixture
def export_to(monkeypatch, tmp_path):
    """Runs the command in this process, with a temporary folder."""

    def call(source, *arguments):
        output = tmp_path / "exported"
        words = ["export", str(source), f"--output={output}", *arguments]
        monkeypatch.setattr(sys, "argv", words)
        export.main()
        return output

    return call


def assert_same_bits(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", FAMILIES)
def test_round_trips_are_exact(tmp_path, name, format):
    if format == "torch":
        pytest.importorskip("torch")
    model = Model(name, 100, jax.device_get(variables(name, 1, jnp.float32)))
    save_model(tmp_path / "model", model, {"run": "golden"}, format)
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, loaded.num_classes) == (name, 100)
    assert_same_bits(loaded.variables, model.variables)
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    assert description["format"] == format and description["run"] == "golden"


@pytest.mark.parametrize("format", FORMATS)
def test_networks_that_aren_t_bundled_keep_flax_s_names(tmp_path, monkeypatch, format):
    if format == "torch":
        pytest.importorskip("torch")
    monkeypatch.setitem(MODELS, "ConvNet", MODELS["resnet8"])
    network = create_model("ConvNet", 10)
    images = jnp.zeros((1, 32, 32, 3))
    made = jax.device_get(dict(network.init(jax.random.key(0), images)))
    if format != "orbax":  # a scalar, and a network without batch norm
        made = {"params": made["params"], "batch_stats": {}}
        made["params"]["scale"] = np.float32(2).reshape(())
    save_model(tmp_path / "model", Model("ConvNet", 10, made), {}, format)
    assert_same_bits(load_model(tmp_path / "model").variables, made)
    if format == "safetensors":
        arrays = safetensors.numpy.load_file(tmp_path / "model" / "model.safetensors")
        assert "params.layer1_0.conv1.kernel" in arrays


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_plain_pytorch_says_the_same(short_runs, export_to, tmp_path, format):
    pytest.importorskip("torch")
    output = export_to(short_runs / "one", f"--format={format}")
    data = digits.load()
    images = np.asarray(
        data.preprocessing.normalize(jnp.asarray(data.test.images), jnp.float32)
    )
    np.save(tmp_path / "images.npy", images)
    (weights,) = output.glob("model.[ps][at]*")
    done = subprocess.run(
        [
            *(sys.executable, REPOSITORY / "tests" / "plain_torch.py", weights),
            *(tmp_path / "images.npy", tmp_path / "logits.npy"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    logits = np.load(tmp_path / "logits.npy")
    ours = np.asarray(load_pretrained(short_runs / "one")(jnp.asarray(images)).logits)
    np.testing.assert_allclose(logits, ours, rtol=0, atol=1e-5 * np.abs(ours).max())
    top1 = json.loads((output / "model.json").read_text())["test_top1"]
    right = np.mean(logits.argmax(axis=-1) == data.test.labels)
    assert 100 * right == pytest.approx(top1, abs=0.02)


@pytest.mark.parametrize("which", ["best", "last"])
def test_an_exported_student_is_taken_as_a_checkpoint(short_runs, export_to, which):
    run = short_runs / "two"  # of two seeds
    last = ("--last",) if which == "last" else ()
    output = export_to(run, *last)
    results = json.loads((run / "results.json").read_text())
    best = max(results["seeds"], key=lambda seed: seed["best"]["test_top1"])
    description = json.loads((output / "model.json").read_text())
    assert description["seed"] == best["seed"]
    assert description["test_top1"] == best[which]["test_top1"]
    figures = evaluate("resnet8", output, "digits", data_dir=output)
    assert figures["top1"] == pytest.approx(best[which]["test_top1"], abs=1e-4)
    again = export_to(output, "--format=flax")  # in its own place
    assert json.loads((again / "model.json").read_text())["seed"] == best["seed"]
    assert not (again / "model.safetensors").exists()


def test_damaged_or_unknown_files_are_refused(tmp_path, export_to, capsys):
    folder = REPOSITORY / "checkpoints" / "digits_resnet20"
    output = export_to(folder)
    weights = output / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="damaged: 1 of its"):
        load_model(output)
    weights.write_bytes(content[:5000])
    with pytest.raises(UserError, match="incomplete or damaged"):
        load_model(output)
    description = json.loads((output / "model.json").read_text())
    (output / "model.json").write_text(json.dumps(description | {"format": "onnx"}))
    with pytest.raises(UserError, match=r"unknown format .* known: orbax, flax"):
        load_model(output)
    with pytest.raises(SystemExit) as exit:
        export_to(tmp_path / "nothing")
    assert exit.value.code == 2
    assert "neither a converted model nor a run" in capsys.readouterr().err
