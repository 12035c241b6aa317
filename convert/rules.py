"""Correspondence of Flax's names and layouts to PyTorch's, by family.

A Flax path such as `layer1_0/downsample_conv/kernel` becomes PyTorch's key
`layer1.0.downsample.0.weight` in two steps: `LEAVES` translates the last part, the
family's renames the rest. An array's layout depends on its leaf and its rank.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

LEAVES = {
    "kernel": "weight",  # of a convolution or a linear layer
    "scale": "weight",  # of a batch norm
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

COUNTER = "num_batches_tracked"
"""A buffer of PyTorch's batch norms that nothing reads; Flax has none."""

Replacement = str | Callable[[re.Match[str]], str]


@dataclasses.dataclass(frozen=True)
class Family:
    """The rules for a family of architectures.

    Attributes:
      models: a pattern that matches their names.
      classifier: PyTorch's key of the last layer.
      renames: (pattern, replacement) for the Flax path, joined by dots.
    """

    models: str
    classifier: str
    renames: tuple[tuple[str, Replacement], ...] = ()


def _vgg_layer(match: re.Match[str]) -> str:
    """Numbers a block's layers as PyTorch: convolution, batch norm, ReLU, …"""
    block, kind, index = match.groups()
    return f"block{block}.{3 * int(index) + (kind == 'bn')}"


STAGE = (r"^layer(\d+)_(\d+)\.", r"layer\1.\2.")

FAMILIES = (
    Family(
        models=r"resnet\d+(x4)?",
        classifier="fc",
        renames=(
            STAGE,
            (r"downsample_conv$", "downsample.0"),
            (r"downsample_bn$", "downsample.1"),
        ),
    ),
    Family(
        models=r"ResNet\d+",
        classifier="linear",
        renames=(
            STAGE,
            (r"downsample_conv$", "shortcut.0"),
            (r"downsample_bn$", "shortcut.1"),
            (r"^fc$", "linear"),
        ),
    ),
    Family(
        models=r"wrn_\d+_\d+",
        classifier="fc",
        renames=(
            (r"^block(\d+)_(\d+)\.", r"block\1.layer.\2."),
            (r"shortcut$", "convShortcut"),
        ),
    ),
    Family(
        models=r"vgg\d+",
        classifier="classifier",
        renames=((r"^block(\d)_(conv|bn)(\d)$", _vgg_layer),),
    ),
    Family(
        models=r"MobileNetV2",
        classifier="classifier.0",
        renames=(
            (r"^(conv|bn)(\d)$", lambda m: f"conv{m[2]}.{int(m[1] == 'bn')}"),
            (r"^blocks(\d+)_(\d+)\.", r"blocks.\1.\2.conv."),
            (r"expand_conv$", "0"),
            (r"expand_bn$", "1"),
            (r"depthwise_conv$", "3"),
            (r"depthwise_bn$", "4"),
            (r"project_conv$", "6"),
            (r"project_bn$", "7"),
            (r"^classifier$", "classifier.0"),
        ),
    ),
    Family(models=r"ShuffleV[12]", classifier="linear", renames=(STAGE,)),
)


def is_bundled(name: str) -> bool:
    """Returns whether there are rules for architecture `name`."""
    return any(re.fullmatch(family.models, name) for family in FAMILIES)


def family(name: str) -> Family:
    """Returns the family of architecture `name`."""
    for candidate in FAMILIES:
        if re.fullmatch(candidate.models, name):
            return candidate
    raise KeyError(f"no conversion rules for {name}")


def torch_key(name: str, path: tuple[str, ...]) -> str:
    """Converts a Flax `path`, without its collection, to PyTorch's key."""
    *modules, leaf = path
    key = ".".join(modules)
    for pattern, replacement in family(name).renames:
        key = re.sub(pattern, replacement, key)
    return f"{key}.{LEAVES[leaf]}"


AXES: dict[tuple[str, int], tuple[int, ...]] = {
    ("kernel", 4): (2, 3, 1, 0),  # a convolution's [out, in, h, w] to [h, w, in, out]
    ("kernel", 2): (1, 0),  # a linear layer's [out, in] to [in, out]
}
"""PyTorch's axes in the order of Flax's, by leaf and rank; others are the same."""


def flax_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """Converts a PyTorch array to the layout of a Flax leaf."""
    return np.ascontiguousarray(array.transpose(_axes(leaf, array.ndim)))


def torch_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """Converts a Flax leaf's array to PyTorch's layout."""
    axes = np.argsort(_axes(leaf, array.ndim))
    return np.ascontiguousarray(array.transpose(axes))


def torch_shape(leaf: str, flax_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Converts the shape of a Flax leaf to PyTorch's layout."""
    axes = np.argsort(_axes(leaf, len(flax_shape)))
    return tuple(flax_shape[axis] for axis in axes)


def _axes(leaf: str, rank: int) -> tuple[int, ...]:
    return AXES.get((leaf, rank), tuple(range(rank)))
