"""Files from strangers: thousands of damaged ones, bombs, and archives that lie.

Each is read to a result or refused in one line, and nothing is left half done.
"""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from da_jax.convert import to_torch_state_dict
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from da_jax.commands.convert import convert_file, convert_release
from da_jax.data import cifar_archive
from da_jax.data.cifar_archive import read_archive
from da_jax.data.cifar_pickle import load_pickle
from da_jax.errors import UserError
from da_jax.storage.model_folders import load_model
from tests.convert.convert_test import save, state_dict, tensors
from tests.data import datasets_test
from tests.data.datasets_test import binary_folder, packed, python_folder

small_archives = datasets_test.small_archives
"""A fixture for all of these tests: official archives of 42 images."""


def mutated(original: bytes, draw) -> bytes:
    """`original` after one to four changes of the kind that files suffer."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        # Headers are where a change does something, so they are hit more often.
        end = draw(st.sampled_from([64, 1024, len(content)]))
        position = draw(st.integers(0, max(0, min(end, len(content)) - 1)))
        change = draw(st.sampled_from(["flip", "set", "cut", "insert", "lose", "copy"]))
        length = draw(st.integers(1, 600))
        if change == "flip" and content:
            content[position] ^= 1 << draw(st.integers(0, 7))
        elif change == "set":
            content[position : position + 8] = draw(st.binary(min_size=1, max_size=8))
        elif change == "cut":
            del content[position:]
        elif change == "insert":
            content[position:position] = draw(st.binary(min_size=1, max_size=40))
        elif change == "lose":
            del content[position : position + length]
        elif change == "copy":
            content[position:position] = content[position : position + length]
    return bytes(content)


def checkpoint(new_format, entry="model", prefix=""):
    weights = {prefix + key: of for key, of in tensors(state_dict()).items()}
    content = {entry: weights, "epoch": 240, "accuracy": np.float64(61.5)}
    file = io.BytesIO()
    save(content, file, new_format)
    return file.getvalue()


def safetensors_file(dtype):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    weights = tensors(state_dict())
    dtype = getattr(torch, dtype)
    floats = {k: of.to(dtype) for k, of in weights.items() if of.is_floating_point()}
    return safetensors.torch.save(weights | floats, {"format": "pt"})


CHECKPOINTS = {
    "current": lambda: checkpoint(True),
    "before 1.6": lambda: checkpoint(False),
    "wrapped": lambda: checkpoint(True, "state_dict", "module._orig_mod."),
    "safetensors": lambda: safetensors_file("float32"),
    "bfloat16 safetensors": lambda: safetensors_file("bfloat16"),
}
"""Makers of a resnet8's checkpoint, by format."""

WITH_CHECKSUMS = ("current", "wrapped")
"""In the other formats a flipped bit is a weight."""


def holds_the_weights(output):
    """Those of `state_dict`: damage elsewhere in the file is no harm."""
    torch = pytest.importorskip("torch")
    found = to_torch_state_dict("resnet8", load_model(output).variables)
    return all(torch.equal(found[k], v) for k, v in tensors(state_dict()).items())


FEW_OR_MANY = pytest.mark.parametrize(
    "examples", [60, pytest.param(1200, marks=pytest.mark.slow)]
)


def fuzz(examples, test):
    """Calls `test` with Hypothesis' `draw` for so many files."""

    @settings(
        max_examples=examples,
        deadline=20_000,  # in milliseconds: nothing hangs
        database=None,
        phases=[Phase.generate],  # to shrink a file takes longer than to find it
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data):
        test(data.draw)

    run()


@FEW_OR_MANY
@pytest.mark.parametrize("format", CHECKPOINTS)
def test_damaged_checkpoints(tmp_path, capsys, examples, format):
    original = CHECKPOINTS[format]()
    source, output = tmp_path / "teacher.pth", tmp_path / "output" / "resnet8"

    def convert(draw):
        source.write_bytes(mutated(original, draw))
        shutil.rmtree(output, ignore_errors=True)
        try:
            convert_file("resnet8", source, output)
        except UserError as error:
            assert "\n" not in str(error)
            assert not output.exists()
        else:
            assert holds_the_weights(output) or format not in WITH_CHECKSUMS
        assert not list(tmp_path.glob("output/.*"))

    fuzz(examples, convert)


def release(new_format):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo("teachers/resnet8_vanilla/ckpt_epoch_240.pth")
        content = checkpoint(new_format)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@FEW_OR_MANY
def test_damaged_releases(tmp_path, capsys, examples):
    original = release(new_format=True)
    source, output = tmp_path / "cifar_teachers.tar", tmp_path / "output"

    def convert(draw):
        source.write_bytes(mutated(original, draw))
        shutil.rmtree(output, ignore_errors=True)
        try:
            convert_release(source, output)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert holds_the_weights(output / "resnet8")
        assert not list(tmp_path.glob("output/.*"))

    fuzz(examples, convert)


@FEW_OR_MANY
@pytest.mark.parametrize("make", [binary_folder, python_folder])
@pytest.mark.parametrize("where", ["packed", "tar", "members"])
def test_damaged_archives(tmp_path, examples, make, where):
    folder = make(tmp_path)
    path = tmp_path / "archive"
    gzipped = packed(folder).read_bytes()
    members = {file: file.read_bytes() for file in sorted(folder.iterdir())}

    def read(draw):
        if where == "members":
            file = draw(st.sampled_from(list(members)))
            file.write_bytes(mutated(members[file], draw))
        elif where == "tar":
            path.write_bytes(mutated(gzip.decompress(gzipped), draw))
        else:
            path.write_bytes(mutated(gzipped, draw))
        try:
            archive = read_archive(folder if where == "members" else path)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            for records, size in ((archive.train, 30), (archive.test, 12)):
                assert records.images.shape == (size, 32, 32, 3)
                assert records.images.dtype == np.uint8
                assert records.fine.max() < 100 and records.coarse.max() < 20
        for file, content in members.items():
            file.write_bytes(content)

    fuzz(examples, read)


def refuses(read, *arguments, match):
    """In little time and memory, as the machine of the test would notice otherwise."""
    begin = time.perf_counter()
    with pytest.raises(UserError, match=match):
        read(*arguments)
    assert time.perf_counter() - begin < 60


def test_a_gzipped_bomb(tmp_path):
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=9) as file:
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 10**9
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(600):
            file.write(bytes(10**6))
    refuses(read_archive, tmp_path / "bomb.tar.gz", match="larger than any archive")


def test_an_archive_of_many_nested_headers(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    (tmp_path / "nested.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 100_000)
    refuses(read_archive, tmp_path / "nested.tar", match="a readable")


PROTOCOL_2 = b"\x80\x02"
PICKLE_BOMBS = {
    "an index that asks for room": b"]r" + struct.pack("<I", 2**32 - 1) + b".",
    "bytes that are not there": b"\x96" + struct.pack("<Q", 2**42) + b".",
    "a name that is no name": pickle.dumps({b"x" * 10**6: 1}, protocol=2)[2:],
    "one name many times": pickle.dumps({b"data": [b"x" * 10**5] * 10**4}, 2)[2:],
    "many values": pickle.dumps({b"data": [1] * 10**6}, 2)[2:],
}


@pytest.mark.parametrize("bomb", PICKLE_BOMBS)
def test_pickled_bombs(bomb):
    refuses(load_pickle, "train", PROTOCOL_2 + PICKLE_BOMBS[bomb], match="a pickle of")


def _members_that_unpack(path: Path) -> None:
    """PyTorch's own file, its members deflated and one of them a bomb."""
    with (
        zipfile.ZipFile(io.BytesIO(checkpoint(new_format=True))) as original,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in original.infolist():
            content = original.read(member)
            is_bomb = member.filename.endswith("data/0")
            packed.writestr(member.filename, bytes(10**9) if is_bomb else content)


def _storage_that_is_not_there(path: Path) -> None:
    """In the format before PyTorch 1.6 a pickle says how large a storage is."""
    content = {"conv1.weight": np.ones((4, 10**3), np.float32)}
    save(tensors(content), path, new_format=False)
    honest = b"M" + struct.pack("<H", 4000)
    lie = b"\x8a\x06" + (10**12).to_bytes(6, "little")
    written = path.read_bytes()
    assert honest in written
    path.write_bytes(written.replace(honest, lie, 1))


class _RunsCode:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _lying_safetensors(path, start=0, end=10**15, shape=(10**7, 10**7), names=("a",)):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(dict.fromkeys(names, entry)).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))


def _in_itself():
    content = {"epoch": 1}
    content["model"] = content["state_dict"] = content
    return content


STRANGE = {
    "code in an entry": (lambda torch: {"ema": _RunsCode()}, "it names posix.mkdir"),
    "code beside the weights": (
        lambda torch: {"state_dict": tensors(state_dict()), "net": {"a": _RunsCode()}},
        "it names posix.mkdir",
    ),
    "a checkpoint in itself": (
        lambda torch: _in_itself(),
        "isn't a checkpoint of tensors",
    ),
    "entries in entries": (
        lambda torch: {"model": {"net": {"ema": {"model": {"net": {}}}}}},
        "holds no state dict",
    ),
    "a sparse tensor": (
        lambda torch: {"fc.weight": torch.eye(3).to_sparse()},
        "Cannot access",
    ),
    "floats of 8 bits": (
        lambda torch: {"fc.weight": torch.ones(3).to(torch.float8_e4m3fn)},
        "fc.weight can't be converted: Got unsupported ScalarType Float8_e4m3fn",
    ),
    "one number many times": (
        lambda torch: {"conv1.weight": torch.ones(1).expand(10**6, 10**6, 3, 3)},
        "1 wrongly shaped: conv1.weight",
    ),
    "as many classes": (
        lambda torch: {"fc.bias": torch.ones(1).expand(10**12)},
        "missing: ",
    ),
    "a name of many lines": (
        lambda torch: {"a\nb": torch.ones(1)},
        "1 extra: 'a\\nb'",
    ),
    "names of nothing": (
        lambda torch: {"module.": torch.ones(1), "": torch.ones(1)},
        "twice",
    ),
}
"""Makers of a file's content, given PyTorch, and what the line says of them."""


@pytest.mark.parametrize("name", STRANGE)
def test_strange_checkpoints(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    torch = pytest.importorskip("torch")
    make, message = STRANGE[name]
    torch.save(make(torch), "strange.pth")
    source = Path("strange.pth")
    with pytest.raises(UserError) as error:
        convert_file("resnet8", source, Path("output"))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["strange.pth"]


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"end": 64, "shape": (10**7, 10**7)},
        {"end": 64, "shape": (16,), "names": ("a", "b")},  # overlapping
        {"start": 10**15, "end": 64, "shape": (16,)},
        {"end": 64, "shape": (2**63, 2**63)},
        {"end": 64, "shape": (-4, -4)},
    ],
)
def test_safetensors_that_lie(tmp_path, lie):
    path = tmp_path / "lie.safetensors"
    _lying_safetensors(path, **lie)
    arguments = (convert_file, "resnet8", path, tmp_path / "out")
    refuses(*arguments, match="isn't a readable safetensors file")
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    refuses(*arguments, match="isn't a readable safetensors file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [_members_that_unpack, _storage_that_is_not_there])
def test_a_checkpoint_that_claims_more_than_it_has(tmp_path, make):
    path = tmp_path / "bomb.pth"
    make(path)
    arguments = ("resnet8", path, tmp_path / "output")
    refuses(convert_file, *arguments, match="claims to hold")
    assert not (tmp_path / "output").exists()


def test_an_archive_writes_nothing_outside(tmp_path):
    """Members that point elsewhere: nothing is unpacked, so nothing is written."""
    folder = binary_folder(tmp_path)
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for file in folder.iterdir():
            tar.add(file, arcname=f"../../outside/{file.name}")
    before = sorted(tmp_path.rglob("*"))
    assert len(read_archive(archive).train.images) == 30
    assert sorted(tmp_path.rglob("*")) == before
    assert cifar_archive.MAX_TAR_BYTES < 10**9
