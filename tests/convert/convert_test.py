"""The converter: accepted files, and files refused in one line."""

import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from da_jax.convert import convert_state_dict, to_torch_state_dict

from da_jax.commands import convert as convert_main
from da_jax.errors import UserError
from da_jax.models import MODELS
from da_jax.storage.model_folders import load_model
from tests import golden
from tests.golden import weights


def state_dict(name="resnet8", seed=1):
    return weights.state_dict(golden.load("models")[0][name]["shapes"], seed)


def tensors(arrays):
    torch = pytest.importorskip("torch")
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}


@pytest.fixture
def convert(monkeypatch, capsys):
    """Runs the command in this process; returns its exit code and outputs."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["convert", *map(str, arguments)])
        code = 0
        try:
            convert_main.main()
        except SystemExit as exit:
            code = exit.code
        return subprocess.CompletedProcess(sys.argv, code, *capsys.readouterr())

    return call


def test_command_from_the_shell(tmp_path):
    save(tensors(state_dict()), tmp_path / "resnet8.pth")
    command = [sys.executable, "-m", "convert", "--model", "resnet8", "--source"]
    paths = [tmp_path / "resnet8.pth", "--output", tmp_path / "resnet8"]
    done = subprocess.run([*command, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "resnet8").name == "resnet8"


@pytest.mark.parametrize("wrapped", [False, True])
def test_command_converts_a_file(tmp_path, convert, wrapped):
    content = tensors(state_dict())
    source, output = tmp_path / "ckpt_epoch_240.pth", tmp_path / "teachers" / "resnet8"
    save({"model": content, "epoch": 240} if wrapped else content, source)
    done = convert("--model", "resnet8", "--source", source, "--output", output)
    assert done.returncode == 0, done.stderr
    model = load_model(output)
    assert (model.name, model.num_classes) == ("resnet8", 100)
    kernel = model.variables["params"]["layer2_0"]["conv1"]["kernel"]
    expected = state_dict()["layer2.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    description = json.loads((output / "model.json").read_text())
    assert len(description["source_sha256"]) == 64


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_is_exact(name):
    torch = pytest.importorskip("torch")
    arrays = state_dict(name)
    back = to_torch_state_dict(name, convert_state_dict(name, arrays))
    assert back.keys() == arrays.keys()
    for key, expected in tensors(arrays).items():
        assert back[key].dtype == expected.dtype
        assert back[key].is_contiguous() and torch.equal(back[key], expected), key


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


def save(content, path, new_format=True):
    """Writes a file as PyTorch's trainers do."""
    torch = pytest.importorskip("torch")
    torch.save(content, path, _use_new_zipfile_serialization=new_format)


class _RunsCode:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _wrong_architecture(path):
    save(tensors(state_dict("resnet20")), path)


def _other_classes(path):
    arrays = state_dict()
    arrays |= {key: arrays[key][:10] for key in ("fc.weight", "fc.bias")}
    save(tensors(arrays), path)


def _truncated(path):
    save(tensors(state_dict()), path)
    path.write_bytes(path.read_bytes()[:5000])


def _truncated_before_1_6(path):
    save(tensors(state_dict()), path, new_format=False)
    path.write_bytes(path.read_bytes()[:200_000])


def _runs_code(path):
    save({"model": tensors(state_dict()), "accuracy": _RunsCode()}, path)


def refused(done, message):
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_wrong_architecture, "extra: layer1.1"),
        (_other_classes, "has 10 classes, not 100"),
        (_truncated, "isn't a checkpoint of tensors"),
        (_truncated_before_1_6, "isn't a checkpoint of tensors"),
        (_runs_code, "it names posix.mkdir"),
        (lambda path: save([1, 2], path), "no state dict"),
        (lambda path: None, "No such file"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, convert, make, message):
    make(tmp_path / "teacher.pth")
    output = tmp_path / "output"
    source = ("--source", tmp_path / "teacher.pth")
    refused(convert("--model", "resnet8", *source, "--output", output), message)
    assert not output.exists() and not (tmp_path / "executed").exists()


def test_another_number_of_classes_can_be_given(tmp_path, convert):
    _other_classes(tmp_path / "student.pth")
    paths = ("--source", tmp_path / "student.pth", "--output", tmp_path / "student")
    done = convert("--model", "resnet8", *paths, "--num_classes", 10)
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "student").num_classes == 10


TEACHERS = {
    # Other entries of a trainer's checkpoint, of which arrays are saved as tensors; and
    # whether its format is current.
    "resnet56": ({"epoch": 240, "accuracy": np.float64(72.34)}, True),
    "vgg13": ({"epoch": 240, "accuracy": np.array(74.64, np.float32)}, False),
    "wrn_40_2": ({"epoch": 240, "accuracy": np.float32(75.61)}, False),
    "ResNet50": ({}, True),
    "MobileNetV2": ({"optimizer": {"param_groups": [{"lr": 5e-5}]}}, True),
}


def checkpoint(name):
    """Creates a trainer's checkpoint; those of the old format come from a GPU."""
    torch = pytest.importorskip("torch")
    entries, new_format = TEACHERS[name]
    arrays = {k: v for k, v in entries.items() if isinstance(v, np.ndarray)}
    content = {"model": tensors(state_dict(name))} | entries | tensors(arrays)
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}}
    content["optimizer"] = optimizer | content.get("optimizer", {})
    file = io.BytesIO()
    save(content, file, new_format)
    written = file.getvalue()
    if new_format:
        return written
    cpu, gpu = (b"X" + len(d).to_bytes(4, "little") + d for d in (b"cpu", b"cuda:0"))
    assert cpu in written
    return written.replace(cpu, gpu)


def archive(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def member(model):
    return f"cifar_teachers/{model}_vanilla/ckpt_epoch_240.pth"


def test_all_teachers_of_a_release_are_converted(tmp_path, convert):
    torch = pytest.importorskip("torch")
    members = {member(model): checkpoint(model) for model in TEACHERS}
    members["cifar_teachers/readme.txt"] = b"no teacher"
    source = archive(tmp_path / "cifar_teachers.tar", members)
    output = tmp_path / "checkpoints"
    done = convert("--all", "--source", source, "--output", output)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in output.iterdir()} == TEACHERS.keys()
    for name in TEACHERS:
        model = load_model(output / name)
        back = to_torch_state_dict(model.name, model.variables)
        for key, expected in tensors(state_dict(name)).items():
            assert torch.equal(back[key], expected), key
        parameters = f"{golden.load('models')[0][name]['num_params']:,}"
        (row,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert parameters in row
        assert (
            json.loads((output / name / "model.json").read_text())["source_sha256"]
            in row
        )


def _with_damaged_teacher(path):
    content = checkpoint("resnet56")
    members = {member("vgg13"): checkpoint("vgg13"), member("resnet56"): content[:9999]}
    archive(path, members)


def _with_code(path):
    file = io.BytesIO()
    save({"model": _RunsCode()}, file)
    archive(path, {member("resnet56"): file.getvalue()})


def _pointing_outside(path):
    content = checkpoint("resnet56")
    archive(path, {member("resnet56"): content, "../" + member("vgg13"): content})


def _with_link(path):
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo(member("resnet56"))
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)


def _cut_off(path):
    archive(path, {member("resnet56"): checkpoint("resnet56")})
    path.write_bytes(path.read_bytes()[:100_000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_with_damaged_teacher, "resnet56_vanilla/ckpt_epoch_240.pth isn't a"),
        (_with_code, "it names posix.mkdir"),
        (_pointing_outside, "../cifar_teachers/vgg13_vanilla"),
        (_with_link, "is a link or a device"),
        (_cut_off, "isn't a readable tar archive"),
        (lambda path: archive(path, {"readme.txt": b"nothing"}), "holds no teacher"),
        (
            lambda path: archive(path, {member("alexnet"): b"what?"}),
            "unknown model 'alexnet'",
        ),
        (lambda path: None, "there is no archive"),
    ],
)
def test_bad_releases_are_refused_in_one_line(tmp_path, convert, make, message):
    make(tmp_path / "teachers.tar")
    output = tmp_path / "checkpoints"
    source = ("--source", tmp_path / "teachers.tar")
    refused(convert("--all", *source, "--output", output), message)
    assert not output.exists() and not (tmp_path / "executed").exists()
