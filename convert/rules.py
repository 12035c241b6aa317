"""How Flax's names and layouts correspond to PyTorch's.

A Flax path such as `layer1_0/downsample_conv/kernel` becomes PyTorch's key
`layer1.0.downsample.0.weight` in two moves: the last part through `LEAVES`, the rest
through the family's `RENAMES`. An array's layout is that of its leaf and its rank.
"""

import re

import numpy as np

LEAVES = {
    "kernel": "weight",  # of a convolution or a linear layer
    "scale": "weight",  # of a batch norm
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

RESNET_RENAMES = (
    (r"layer(\d+)_(\d+)", r"layer\1.\2"),
    (r"downsample_conv", r"downsample.0"),
    (r"downsample_bn", r"downsample.1"),
)

FAMILIES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (r"resnet\d+(x4)?", RESNET_RENAMES),
)
"""(pattern of the architecture's whole name, the family's renames)."""

IGNORED = re.compile(r"(.*\.)?num_batches_tracked")
"""Keys with no counterpart: PyTorch's counter of batches, which nothing reads."""


def torch_key(name: str, path: tuple[str, ...]) -> str:
    """PyTorch's key for a Flax `path` (without its collection) of model `name`."""
    *modules, leaf = path
    key = ".".join(modules)
    for pattern, replacement in _renames(name):
        key = re.sub(pattern, replacement, key)
    return f"{key}.{LEAVES[leaf]}"


def _renames(name: str) -> tuple[tuple[str, str], ...]:
    for pattern, renames in FAMILIES:
        if re.fullmatch(pattern, name):
            return renames
    raise KeyError(f"no conversion rules for {name}")


AXES: dict[tuple[str, int], tuple[int, ...]] = {
    ("kernel", 4): (2, 3, 1, 0),  # a convolution's [out, in, h, w] to [h, w, in, out]
    ("kernel", 2): (1, 0),  # a linear layer's [out, in] to [in, out]
}
"""The axes of a Flax leaf of that rank, as PyTorch counts them; others stay."""


def flax_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """A PyTorch array in the layout of the Flax leaf it becomes."""
    return array.transpose(AXES.get((leaf, array.ndim), range(array.ndim)))


def torch_shape(leaf: str, flax_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape PyTorch has for a Flax leaf of `flax_shape`."""
    axes = AXES.get((leaf, len(flax_shape)), range(len(flax_shape)))
    shape = dict(zip(axes, flax_shape, strict=True))
    return tuple(shape[axis] for axis in range(len(flax_shape)))
