"""Correspondence of Flax's names and layouts to PyTorch's, by family.

A Flax path such as `layer1_0/downsample_conv/kernel` becomes PyTorch's key
`layer1.0.downsample.0.weight` in two steps: `LEAVES` translates the last part, the
family's renames the rest. An array's layout depends on its leaf and its rank.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from da_jax.errors import UserError, printable

LEAVES = {
    "kernel": "weight",  # of a convolution or a linear layer
    "scale": "weight",  # of a batch norm
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

COUNTER = "num_batches_tracked"
"""A buffer of PyTorch's batch norms that nothing reads; Flax has none."""

COUNTERS = {COUNTER, "n_averaged"}
"""The buffers without use here; the second is of PyTorch's averaged models."""

WRAPPERS = {"module", "_orig_mod"}
"""Modules around a network or a part of it: data parallelism, `torch.compile`."""

CONTAINER = "model"
"""The attribute of a trainer's module, such as Lightning's, that has the network."""

Value = TypeVar("Value")
Replacement = str | Callable[[re.Match[str]], str]


@dataclasses.dataclass(frozen=True)
class Family:
    """The rules for a family of architectures.

    Attributes:
      models: their names.
      classifier: PyTorch's key of the last layer.
      renames: (pattern, replacement) for the Flax path, joined by dots.
    """

    models: tuple[str, ...]
    classifier: str
    renames: tuple[tuple[str, Replacement], ...] = ()


def _vgg_layer(match: re.Match[str]) -> str:
    """Numbers a block's layers as PyTorch: convolution, batch norm, ReLU, …"""
    block, kind, index = match.groups()
    return f"block{block}.{3 * int(index) + (kind == 'bn')}"


STAGE = (r"^layer(\d+)_(\d+)\.", r"layer\1.\2.")

FAMILIES = (
    Family(
        models=(
            *("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56"),
            *("resnet110", "resnet8x4", "resnet32x4"),
        ),
        classifier="fc",
        renames=(
            STAGE,
            (r"downsample_conv$", "downsample.0"),
            (r"downsample_bn$", "downsample.1"),
        ),
    ),
    Family(
        models=("ResNet18", "ResNet50"),
        classifier="linear",
        renames=(
            STAGE,
            (r"downsample_conv$", "shortcut.0"),
            (r"downsample_bn$", "shortcut.1"),
            (r"^fc$", "linear"),
        ),
    ),
    Family(
        models=("wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2"),
        classifier="fc",
        renames=(
            (r"^block(\d+)_(\d+)\.", r"block\1.layer.\2."),
            (r"shortcut$", "convShortcut"),
        ),
    ),
    Family(
        models=("vgg8", "vgg11", "vgg13", "vgg16", "vgg19"),
        classifier="classifier",
        renames=((r"^block(\d)_(conv|bn)(\d)$", _vgg_layer),),
    ),
    Family(
        models=("MobileNetV2",),
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
    Family(models=("ShuffleV1", "ShuffleV2"), classifier="linear", renames=(STAGE,)),
)


BUNDLED = tuple(name for family in FAMILIES for name in family.models)
"""The architectures that there are rules for."""


def is_bundled(name: str) -> bool:
    """Returns whether there are rules for architecture `name`."""
    return name in BUNDLED


def family(name: str) -> Family:
    """Returns the family of architecture `name`."""
    for candidate in FAMILIES:
        if name in candidate.models:
            return candidate
    raise KeyError(f"no conversion rules for {name}")


def plain_names(state_dict: Mapping[str, Value]) -> dict[str, Value]:
    """Renames entries as in the network itself, without what is around it.

    Removes `WRAPPERS` from every name, and `CONTAINER` where all names start with it.

    Raises:
      UserError: two entries get the same name.
    """
    plain: dict[str, Value] = {}
    for key, value in state_dict.items():
        name = ".".join(part for part in key.split(".") if part not in WRAPPERS)
        if name in plain:
            raise UserError(
                f"the state dict has {printable(name)} twice, once as {printable(key)}"
            )
        plain[name] = value
    prefix = f"{CONTAINER}."
    while plain and all(key.startswith(prefix) for key in plain):
        plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    return plain


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
