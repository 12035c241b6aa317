"""Checkpoints as people have them: entries, wrappers, safetensors, half precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from da_jax.convert import convert_state_dict, torch_file

from da_jax.storage.descriptions import recorded_dataset
from da_jax.storage.model_folders import load_model
from tests.convert import convert_test
from tests.convert.convert_test import archive, checkpoint, member, refused, tensors
from tests.convert.convert_test import state_dict as arrays_of

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

convert = convert_test.convert
"""A fixture: runs the command in this process."""


@pytest.fixture
def converted(tmp_path, convert):
    """Converts a checkpoint of a resnet8; returns the variables and the messages."""

    def call(save, content, *arguments):
        source, output = tmp_path / "weights", tmp_path / "resnet8"
        save(content, source)
        command = ("--model", "resnet8", "--source", source, "--output", output)
        done = convert(*command, *arguments)
        assert done.returncode == 0, done.stderr
        return load_model(output).variables, done

    return call


def assert_equal(variables, arrays):
    expected = convert_state_dict("resnet8", arrays)
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    for found, wanted in zip(*map(jax.tree.leaves, (variables, expected)), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.asarray(wanted, np.float32))


def prefixed(prefix, content):
    return {prefix + key: value for key, value in content.items()}


ENTRIES = [
    *((entry,) for entry in torch_file.ENTRIES),
    ("model", "state_dict"),
    ("ema", "model", "state_dict"),
]


@pytest.mark.parametrize("entries", ENTRIES, ids=".".join)
def test_the_state_dict_is_found_in_its_entry(converted, entries):
    content = tensors(arrays_of())
    for entry in reversed(entries):
        content = {"epoch": 240, entry: content, "optimizer": {"state": {}}}
    variables, done = converted(torch.save, content)
    assert_equal(variables, arrays_of())
    assert not done.stderr


PREFIXES = (
    *("module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module."),
    *("model.module.", "module.model.", "model.model._orig_mod."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers_are_removed(converted, prefix):
    content = {"state_dict": prefixed(prefix, tensors(arrays_of()))}
    assert_equal(converted(torch.save, content)[0], arrays_of())


def compiled_stages(network):
    for stage in (network.layer1, network.layer3):
        stage[0] = torch.compile(stage[0])
    return network


WRAPPERS = {
    "nothing": lambda network: network,
    "DataParallel": torch.nn.DataParallel,
    "compile": torch.compile,
    "compiled DataParallel": lambda of: torch.compile(torch.nn.DataParallel(of)),
    "compiled blocks": compiled_stages,
    "averaged": torch.optim.swa_utils.AveragedModel,  # and n_averaged
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_state_dicts_of_pytorch_s_own_wrappers(converted, name):
    from tests import plain_torch

    network = plain_torch.ResNet(8, 100)
    network.load_state_dict(tensors(arrays_of()))
    wrapped = WRAPPERS[name](network).state_dict()
    assert name == "nothing" or wrapped.keys() != arrays_of().keys()
    assert_equal(converted(torch.save, {"net": wrapped})[0], arrays_of())


def test_two_entries_of_one_name_are_refused(tmp_path, convert):
    content = tensors(arrays_of())
    content |= {"module.conv1.weight": content["conv1.weight"] * 2}
    torch.save(content, tmp_path / "twice.pth")
    done = convert("--model", "resnet8", "--source", tmp_path / "twice.pth")
    refused(done, "has conv1.weight twice, once as module.conv1.weight")


def test_of_several_entries_the_first_is_taken_and_named(converted, tmp_path, convert):
    ours, other = tensors(arrays_of()), tensors(arrays_of(seed=2))
    content = {"ema": other, "student": other, "state_dict": ours}
    variables, done = converted(torch.save, content)
    assert_equal(variables, arrays_of())
    assert "in state_dict and ema; converting state_dict, --entry" in done.stderr
    for entry in ("ema", "student"):
        variables, done = converted(torch.save, content, "--entry", entry)
        assert_equal(variables, arrays_of(seed=2))
        assert not done.stderr
    del content["state_dict"], content["ema"]
    torch.save(content, tmp_path / "other.pth")
    command = ("--model", "resnet8", "--source", tmp_path / "other.pth")
    refused(convert(*command), "entry student is a dict, not a tensor; --entry names")
    refused(convert(*command, "--entry", "studnt"), "(did you mean student?)")


DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.mark.parametrize("save", [torch.save, safetensors_torch.save_file])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_of_every_precision(converted, tmp_path, save, dtype):
    exact = {
        key: of.to(dtype) if of.is_floating_point() else of
        for key, of in tensors(arrays_of()).items()
    }
    variables, _ = converted(save, prefixed("module.", exact))
    leaf = variables["params"]["conv1"]["kernel"]
    assert leaf.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    expected = {key: of.to(torch.float64).numpy() for key, of in exact.items()}
    if dtype != torch.float64:
        assert_equal(variables, expected)


def test_safetensors_need_no_pytorch(tmp_path):
    source, output = tmp_path / "model.safetensors", tmp_path / "resnet8"
    safetensors_torch.save_file(tensors(arrays_of()), source)
    words = ["", "--model=resnet8", f"--source={source}", f"--output={output}"]
    code = (
        f"import sys; sys.modules['torch'] = None; sys.argv = {words};"
        "from da_jax.commands.convert import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_equal(load_model(output).variables, arrays_of())


def _without_a_stage(content):
    return {key: of for key, of in content.items() if not key.startswith("layer2")}


def _of_integers(content):
    return content | {"fc.weight": content["fc.weight"].to(torch.int8)}


def _of_ten_classes(content):
    return content | {key: content[key][:10] for key in ("fc.weight", "fc.bias")}


@pytest.mark.parametrize(
    ("name", "change", "messages"),
    [
        (
            "resnet20",
            dict,
            (
                "60 extra: layer1.1.bn1.bias, layer1.1.bn1.running_mean, layer1.1.bn1",
                ", layer1.1.bn2.bias, …; it fits resnet20 of 100 classes",
            ),
        ),
        ("resnet20", _of_ten_classes, ("it fits resnet20 of 10 classes",)),
        ("wrn_16_1", dict, ("40 missing: ", "62 extra: ", "it fits wrn_16_1 of")),
        ("vgg8", dict, ("47 missing: ", "it fits vgg8 of 100 classes")),
        (
            "resnet8",
            _without_a_stage,
            ("15 missing: layer2.0.bn1.bias", "it fits none of the bundled"),
        ),
        (
            "resnet8",
            _of_integers,
            ("1 not of floating point: fc.weight (int8)",),
        ),
        (
            "resnet8",
            lambda content: content | {"x\ny" + "z" * 200: torch.ones(1)},
            ("1 extra: 'x\\ny" + "z" * 76,),
        ),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, convert, name, change, messages):
    content = tensors(arrays_of(name))
    torch.save({"net": prefixed("module.", change(content))}, tmp_path / "other.pth")
    done = convert("--model", "resnet8", "--source", tmp_path / "other.pth")
    for message in messages:
        refused(done, message)
    assert len(done.stderr) < 1000
    assert "num_batches_tracked" not in done.stderr


def test_without_an_output_it_is_checkpoints(tmp_path, convert, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(tensors(arrays_of()), "weights.pth")
    done = convert("--model", "resnet8", "--source", "weights.pth")
    assert done.returncode == 0, done.stderr
    assert "is in checkpoints/resnet8" in done.stdout
    assert load_model(Path("checkpoints/resnet8")).name == "resnet8"
    assert recorded_dataset(Path("checkpoints/resnet8")) == ""

    archive(Path("teachers.tar"), {member("vgg13"): checkpoint("vgg13")})
    done = convert("--all", "--source", "teachers.tar")
    assert done.returncode == 0, done.stderr
    assert "1 teachers are in checkpoints" in done.stdout
    assert recorded_dataset(Path("checkpoints/vgg13")) == "cifar100"


def test_the_data_set_is_recorded_where_it_is_given(converted, tmp_path):
    converted(torch.save, tensors(arrays_of()), "--dataset", "my_images")
    description = json.loads((tmp_path / "resnet8" / "model.json").read_text())
    assert description["dataset"] == "my_images"
    assert os.path.basename(description["source"]) == "weights"
