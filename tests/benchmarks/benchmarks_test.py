"""The benchmarks' commands run at a small size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PAIR = ("--teacher=resnet8", "--student=resnet8")

COMMANDS = {
    "step_time": (*PAIR, "--batch_size=8", "--steps=1", "--rounds=1"),
    "epoch_time": (
        *PAIR,
        *("--images=128", "--test_images=32", "--rounds=1", "--batch_sizes=32"),
        *("--students=2", "--precisions=bfloat16"),
    ),
    "seeds": (*PAIR, "--batch_size=8", "--steps=1", "--rounds=1", "--students=1"),
    "methods": (
        *("--teacher=resnet20", "--student=resnet8", "--batch_size=8"),
        *("--images=128", "--steps=1", "--rounds=1", "--methods=AT,ReviewKD"),
    ),
    "startup": ("--rounds=1",),
    "precision": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_benchmark_measures_everything_it_lists(name, tmp_path):
    if name in ("step_time", "epoch_time"):
        pytest.importorskip("torch")
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *COMMANDS[name], "--json", file],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
        env=os.environ | {"XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text())
    assert content["versions"]["jax"] in done.stdout
    assert content["results"]
    for row in content["results"]:
        assert None not in row.values() and "" not in row.values()
