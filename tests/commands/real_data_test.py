"""Real networks on the real CIFAR-100, from archive and PyTorch file to accuracy.

Skipped unless `DA_JAX_TEST_DATA` names a folder with `cifar-100-binary` (the unpacked
official archive) and `cifar100_resnet20.pth`, `cifar100_resnet56.pth` (from the public
collection chenyaofo/pytorch-cifar-models).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from da_jax.data import cifar100

DATA = Path(os.environ.get("DA_JAX_TEST_DATA", "missing"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="DA_JAX_TEST_DATA is not there"),
]


def run(*arguments):
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    archive = ("--archive", DATA / "cifar-100-binary", "--data_dir", folder)
    run("da_jax.prepare", "--dataset", "cifar100", *archive)
    return folder


def test_the_classes_have_their_official_names():
    names = (DATA / "cifar-100-binary" / "fine_label_names.txt").read_text().split()
    assert list(cifar100.CLASS_NAMES) == names


@pytest.mark.parametrize(
    ("model", "top1", "top5"), [("resnet20", 68.83, 91.01), ("resnet56", 72.61, 91.92)]
)
def test_accuracy_is_mdistiller_s_own(tmp_path, data_dir, model, top1, top5):
    pytest.importorskip("torch")
    source, output = DATA / f"cifar100_{model}.pth", tmp_path / model
    run("convert", "--model", model, "--source", source, "--output", output)
    figures = tmp_path / "figures.json"
    run(
        *("da_jax.evaluate", "--model", model, "--checkpoint", output),
        *("--data_dir", data_dir, "--json", figures),
    )
    measured = json.loads(figures.read_text())
    assert measured["top1"] == pytest.approx(top1, abs=0.02)
    assert measured["top5"] == pytest.approx(top5, abs=0.02)
    assert measured["examples"] == 10_000
