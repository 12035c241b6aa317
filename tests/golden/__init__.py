"""Outputs of the original PyTorch implementations, computed on a CPU in float64.

`models`: the 23 CIFAR-100 architectures on 4 images; `training`: steps of KD and of Disagreement
Augmentation, resnet32x4 → resnet8x4, batch 8. Moved images are stored as float32 (their
rounding, 1.2e-7, is well inside the tolerance of 1e-6); `methods`: mdistiller's distillation
methods, of which only losses and norms of gradients are kept; `logit_methods`: later methods of
logits, their losses and whole gradients. Weights come from `weights.py`.
`cifar100.npz`: the first 256 training images of CIFAR-100 and their labels.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


@functools.cache
def load(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of `models` or `training`."""
    description = json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return description, dict(arrays)


@functools.cache
def methods() -> dict[str, Any]:
    """One forward and backward pass of each distillation method."""
    return json.loads((FOLDER / "methods.json").read_text())


@functools.cache
def disturbed_running_statistics() -> dict[str, np.ndarray]:
    """The teacher's in `methods` of FitNet and VID, by PyTorch's key."""
    with np.load(FOLDER / "methods.npz") as arrays:
        return dict(arrays)


@functools.cache
def cifar100() -> tuple[np.ndarray, np.ndarray]:
    """Real images, uint8 `[256, 32, 32, 3]`, and their fine labels `[256]`."""
    with np.load(FOLDER / "cifar100.npz") as arrays:
        return arrays["images"], arrays["labels"]


@functools.cache
def logit_methods() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Losses by method and case, and the gradients that these name, each with a factor."""
    return load("logit_methods")


def logits_rng(text: str) -> np.random.Generator:
    """The generator of an input of `logit_methods`, such as `101:DIST:student`."""
    key = hashlib.sha256(text.encode()).digest()[:8]
    return np.random.Generator(np.random.Philox(int.from_bytes(key, "little")))
