"""Readers of archives and of prepared data, the cache, stratified parts, the digits."""

import dataclasses
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from da_jax.configs.digits import get_config

from da_jax.config.build import load_data
from da_jax.data import (
    DATASETS,
    Examples,
    cifar100,
    cifar_archive,
    digits,
    hold_out,
    load_dataset,
    locations,
    take_part,
)
from da_jax.data.cifar_archive import read_archive
from da_jax.errors import UserError

SIZES = {"train": 30, "test": 12}
FINE = [f"fine_{index}" for index in range(100)]
COARSE = [f"coarse_{index}" for index in range(20)]


@pytest.fixture(autouse=True)
def small_archives(monkeypatch):
    monkeypatch.setattr(cifar_archive, "OFFICIAL_SIZES", SIZES)


def records(split):
    """Creates rows of coarse label, fine label and planes, uint8 `[N, 3074]`."""
    rng = np.random.default_rng(SIZES[split])
    rows = rng.integers(0, 256, (SIZES[split], cifar_archive.RECORD_BYTES), np.uint8)
    rows[:, 0] %= 20
    rows[:, 1] %= 100
    return rows


def expected_images(split):
    return records(split)[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def binary_folder(path):
    folder = path / "cifar-100-binary"
    folder.mkdir()
    for split in SIZES:
        (folder / f"{split}.bin").write_bytes(records(split).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    return folder


def python_folder(path):
    folder = path / "cifar-100-python"
    folder.mkdir()
    for split in SIZES:
        rows = records(split)
        content = {
            b"data": rows[:, 2:].copy(),
            b"fine_labels": rows[:, 1].tolist(),
            b"coarse_labels": rows[:, 0].tolist(),
        }
        (folder / split).write_bytes(pickle.dumps(content, protocol=2))
    names = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def packed(folder):
    archive = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return archive


@pytest.mark.parametrize("make", [binary_folder, python_folder])
@pytest.mark.parametrize("pack", [False, True])
def test_archives_hold_the_same_data(tmp_path, make, pack):
    folder = make(tmp_path)
    archive = read_archive(packed(folder) if pack else folder)
    for split, read in (("train", archive.train), ("test", archive.test)):
        np.testing.assert_array_equal(read.images, expected_images(split))
        np.testing.assert_array_equal(read.fine, records(split)[:, 1])
        np.testing.assert_array_equal(read.coarse, records(split)[:, 0])
    assert (archive.fine_names, archive.coarse_names) == (FINE, COARSE)


class _RunsCode:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_that_names_a_function_is_refused(tmp_path, capsys):
    folder = python_folder(tmp_path)
    (folder / "train").write_bytes(pickle.dumps({b"data": _RunsCode()}))
    with pytest.raises(UserError, match=r"it names builtins\.print"):
        read_archive(folder)
    assert capsys.readouterr().out == ""


def test_damaged_archives_are_refused(tmp_path):
    folder = binary_folder(tmp_path)
    archive = packed(folder)
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(UserError, match="a readable"):
        read_archive(archive)
    (folder / "train.bin").write_bytes(records("train").tobytes()[:-1])
    with pytest.raises(UserError, match="a whole number of records"):
        read_archive(folder)
    (folder / "train.bin").write_bytes(records("test").tobytes())
    with pytest.raises(UserError, match="12 train images instead of 30"):
        read_archive(folder)


def test_prepared_data_is_read_back(tmp_path):
    archive = read_archive(binary_folder(tmp_path))
    data_dir = tmp_path / "data"
    cifar100.prepare(archive, data_dir)
    for clean in (False, True):
        if clean:  # without the cache, from TFDS's files
            locations.cached_cifar100(data_dir).unlink()
        dataset = cifar100.load(data_dir)
        for split, read in (("train", dataset.train), ("test", dataset.test)):
            np.testing.assert_array_equal(read.images, expected_images(split))
            np.testing.assert_array_equal(read.labels, records(split)[:, 1])
    assert locations.cached_cifar100(data_dir).exists()


def test_of_two_processes_that_prepare_one_waits_for_the_other(tmp_path):
    archive, data_dir = binary_folder(tmp_path), tmp_path / "data"
    code = (
        "import sys; from da_jax.data import cifar_archive;"
        f"cifar_archive.OFFICIAL_SIZES = {SIZES};"
        "from da_jax import prepare; input();"
        "sys.argv = ['', '--dataset=cifar100', *sys.argv[1:]]; prepare.main()"
    )
    arguments = (f"--archive={archive}", f"--data_dir={data_dir}")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    with cifar100.locked(data_dir):  # until both are at it
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            assert "waiting for it" in process.stderr.readline()
    ended = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    prepared = locations.prepared_cifar100(data_dir)
    assert sorted(said.splitlines()[-1] for said, _ in ended) == [
        f"CIFAR-100 is already prepared in {prepared}",
        f"CIFAR-100 is prepared in {prepared}: 30 training and 12 test images",
    ]
    assert not any("Traceback" in errors for _, errors in ended)
    assert len(cifar100.load(data_dir).train.images) == 30


def test_tfrecord_is_read_with_tensorflow_and_then_without(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    archive = read_archive(binary_folder(tmp_path))
    cifar100._write_prepared(archive, tmp_path, file_format="tfrecord")
    with monkeypatch.context() as without_tensorflow:
        without_tensorflow.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(UserError, match="takes TensorFlow to read, once"):
            cifar100.load(tmp_path)
    cifar100.load(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    dataset = cifar100.load(tmp_path)
    for split, read in (("train", dataset.train), ("test", dataset.test)):
        np.testing.assert_array_equal(read.images, expected_images(split))
        np.testing.assert_array_equal(read.labels, records(split)[:, 1])


def test_missing_data_set_names_the_command(tmp_path):
    with pytest.raises(UserError, match="da-jax prepare --dataset cifar100"):
        cifar100.load(tmp_path)


def test_held_out_examples_are_stratified_and_not_trained_on():
    dataset = dataclasses.replace(digits.load(), read_test=None)  # not to be read
    kept, held_out = hold_out(dataset, 200, seed=0)
    assert len(held_out.labels) == 200 and len(kept.train.labels) == 1237
    shares = np.bincount(held_out.labels) / np.bincount(dataset.train.labels)
    np.testing.assert_allclose(shares, 200 / 1437, atol=0.006)
    together = np.concatenate([kept.train.images, held_out.images])
    assert sorted(map(bytes, together)) == sorted(map(bytes, dataset.train.images))
    same, _ = hold_out(dataset, 200, seed=0)
    np.testing.assert_array_equal(same.train.labels, kept.train.labels)
    other, _ = hold_out(dataset, 200, seed=1)
    assert not np.array_equal(other.train.images, kept.train.images)
    for size in (9, 1430):
        with pytest.raises(UserError, match="validation_size"):
            hold_out(dataset, size, seed=0)


class Recorded(np.ndarray):
    """An array that records which of its rows are read."""

    read: list

    def __getitem__(self, rows):
        self.read.append(rows)
        return super().__getitem__(rows).view(np.ndarray)


def test_a_part_of_the_training_set_is_stratified_and_no_more_is_read(monkeypatch):
    full = digits.load()
    images, labels = full.train
    part = take_part(full, 300, seed=0).train
    shares = np.bincount(part.labels) / np.bincount(labels)
    np.testing.assert_allclose(shares, 300 / 1437, atol=0.006)

    recorded = images.view(Recorded)
    recorded.read = []
    watched = dataclasses.replace(full, train=Examples(recorded, labels))
    again = take_part(watched, 300, seed=0).train
    np.testing.assert_array_equal(again.images, part.images)
    (read,) = recorded.read
    assert len(set(read)) == 300 and list(read) == sorted(read)
    assert type(again.images) is np.ndarray

    # A run reads no images outside of the part.
    config = get_config()
    config.train_size = 300
    garbage = np.full_like(images, 255)
    garbage[read] = images[read]
    changed = dataclasses.replace(full, train=Examples(garbage, labels))
    monkeypatch.setitem(DATASETS, "digits", lambda data_dir: changed)
    data = load_data(config)
    np.testing.assert_array_equal(data.train.images, part.images)
    np.testing.assert_array_equal(data.train.labels, part.labels)
    kept, held_out = hold_out(data, 60, seed=0)
    together = np.concatenate([kept.train.images, held_out.images])
    assert sorted(map(bytes, together)) == sorted(map(bytes, part.images))

    config.train_seed = 1
    assert not np.array_equal(load_data(config).train.labels, part.labels)
    assert take_part(full, len(labels), seed=0) is full
    for size in (9, 1430, 2000):
        with pytest.raises(UserError, match="train_size"):
            take_part(full, size, seed=0)


def test_the_number_of_class_names_is_checked(monkeypatch):
    full = digits.load()
    assert full.class_names[7] == "7"
    unnamed = dataclasses.replace(full, class_names=())
    assert unnamed.class_names == full.class_names
    few = dataclasses.replace(full, class_names=("zero", "one"))
    monkeypatch.setitem(DATASETS, "few", lambda data_dir: few)
    with pytest.raises(UserError, match="few has 10 classes, but names for 2"):
        load_dataset("few", None)


def test_digits_are_split_evenly_and_never_flipped():
    dataset = digits.load()
    assert dataset.train.images.shape == (1437, 32, 32, 3)
    assert dataset.test.images.shape == (360, 32, 32, 3)
    assert dataset.train.images.dtype == np.uint8 and dataset.train.images.max() == 255
    assert np.bincount(dataset.test.labels).min() >= 34
    assert not dataset.preprocessing.flip


def test_missing_prerequisites_are_found_without_jax():
    code = (
        "import sys; sys.modules['jax'] = None;"
        "from da_jax.config import prerequisites;"
        "config = {'dataset': 'cifar100', 'data_dir': 'nowhere', 'gallery_every': 0,"
        " 'init_checkpoint': '',"
        " 'teacher': {'model': 'vgg13', 'checkpoint': 'nowhere/vgg13'}};"
        "prerequisites.check_prerequisites(config)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UserError: CIFAR-100 is not in nowhere: download" in done.stderr
    assert (
        "; the teacher vgg13 is not in nowhere/vgg13 of the working folder"
        in done.stderr
    )
