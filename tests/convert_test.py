"""The converter: what it takes, and what it refuses in one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from convert import convert_state_dict
from da_jax.checkpointing import load_model
from da_jax.errors import UserError
from tests import golden
from tests.golden import weights


def state_dict(name="resnet8", seed=1):
    return weights.state_dict(golden.load("models")[0][name]["shapes"], seed)


def tensors(arrays):
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}


def convert(*arguments):
    command = [sys.executable, "-m", "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("wrapped", [False, True])
def test_command_converts_a_file(tmp_path, wrapped):
    content = tensors(state_dict())
    source, output = tmp_path / "ckpt_epoch_240.pth", tmp_path / "teachers" / "resnet8"
    torch.save({"model": content, "epoch": 240} if wrapped else content, source)
    done = convert("--model", "resnet8", "--source", source, "--output", output)
    assert done.returncode == 0, done.stderr
    model = load_model(output)
    assert (model.name, model.num_classes) == ("resnet8", 100)
    kernel = model.variables["params"]["layer2_0"]["conv1"]["kernel"]
    expected = state_dict()["layer2.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    description = json.loads((output / "model.json").read_text())
    assert len(description["source_sha256"]) == 64


def test_missing_extra_and_wrongly_shaped_names_are_listed():
    arrays = state_dict()
    del arrays["bn1.weight"]
    arrays["surprise.weight"] = np.zeros(3)
    arrays["conv1.weight"] = np.zeros((16, 1, 3, 3))
    with pytest.raises(UserError) as error:
        convert_state_dict("resnet8", arrays)
    assert "missing: bn1.weight;" in str(error.value)
    assert "extra: surprise.weight;" in str(error.value)
    assert "conv1.weight [16, 1, 3, 3] instead of [16, 3, 3, 3]" in str(error.value)


class _RunsCode:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _wrong_architecture(path):
    torch.save(tensors(state_dict("resnet20")), path)


def _truncated(path):
    torch.save(tensors(state_dict()), path)
    path.write_bytes(path.read_bytes()[:5000])


def _runs_code(path):
    torch.save({"model": _RunsCode()}, path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_wrong_architecture, "extra: layer1.1"),
        (_truncated, "no checkpoint of tensors"),
        (_runs_code, "no checkpoint of tensors"),
        (lambda path: torch.save([1, 2], path), "no state dict"),
        (lambda path: None, "there is no file"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, monkeypatch, make, message):
    make(tmp_path / "teacher.pth")
    output = tmp_path / "output"
    done = convert(
        "--model", "resnet8", "--source", tmp_path / "teacher.pth", "--output", output
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert not output.exists() and not (tmp_path / "executed").exists()
