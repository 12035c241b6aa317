"""The architectures against mdistiller's outputs, and their initialisation."""

import functools
import math

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.data.cifar100 import PREPROCESSING
from da_jax.errors import UserError
from da_jax.models import MODELS, create_model
from da_jax.models.layers import channel_shuffle
from tests import golden
from tests.parity import by_torch_key, relative_error, variables


@functools.cache
def outputs(name, dtype):
    """Computes eval-mode outputs, train-mode logits and updated running statistics."""
    description, arrays = golden.load("models")
    model = create_model(name, dtype=dtype, precision="highest")
    weights = variables(name, description[name]["seed"], dtype)
    images = PREPROCESSING.normalize(jnp.asarray(arrays["images"]), dtype)

    @jax.jit
    def run(weights, images):
        evaluated = model.apply(weights, images, train=False)
        (logits, _), moved = model.apply(
            weights, images, train=True, mutable=["batch_stats"]
        )
        return evaluated, logits, moved

    return run(weights, images)


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_original_in_float64(x64, name):
    description, arrays = golden.load("models")
    (logits, features), train_logits, moved = outputs(name, jnp.float64)
    assert relative_error(logits, arrays[f"{name}/eval_logits"]) < 1e-8
    assert relative_error(train_logits, arrays[f"{name}/train_logits"]) < 1e-8
    assert relative_error(features["pooled_feat"], arrays[f"{name}/pooled"]) < 1e-8
    running = by_torch_key(name, moved)
    prefix = f"{name}/running/"
    expected = {key for key in arrays if key.startswith(prefix)}
    assert {prefix + key for key in running} == expected
    for key, value in running.items():
        assert relative_error(value, arrays[prefix + key]) < 1e-8, key
    for index, feat in enumerate(features["feats"]):
        batch, channels, height, width = description[name]["feat_shapes_nchw"][index]
        assert feat.shape == (batch, height, width, channels)
        mean, std = np.mean(feat), np.std(feat, ddof=1)
        assert mean == pytest.approx(description[name]["feat_means"][index], rel=1e-8)
        assert std == pytest.approx(description[name]["feat_stds"][index], rel=1e-8)


def _rectified(name, preact, index):
    return np.maximum(preact, 0)


def _rectified_and_shuffled(name, preact, index):
    rectified = np.maximum(preact, 0)
    return channel_shuffle(rectified, 2) if index else rectified


def _denormalized(name, preact, index):
    """Computes a stage's output from that of the batch norm that follows it."""
    if index == 0:
        return preact
    path = ("bn1",) if index == 3 else (f"block{index + 1}_0", "bn1")
    params, batch_stats = (
        functools.reduce(dict.get, path, variables(name, 1, jnp.float64)[collection])
        for collection in ("params", "batch_stats")
    )
    std = np.sqrt(batch_stats["var"] + 1e-5)
    return (preact - params["bias"]) / params["scale"] * std + batch_stats["mean"]


BEFORE_ACTIVATION = {
    "ShuffleV2": _rectified_and_shuffled,
    "MobileNetV2": lambda name, preact, index: preact,
} | {name: _denormalized for name in MODELS if name.startswith("wrn")}


@pytest.mark.parametrize("name", MODELS)
def test_preactivations_become_the_features(x64, name):
    (_, features), _, _ = outputs(name, jnp.float64)
    activate = BEFORE_ACTIVATION.get(name, _rectified)
    pairs = zip(features["preact_feats"], features["feats"], strict=True)
    for index, (preact, feat) in enumerate(pairs):
        expected = activate(name, np.asarray(preact), index)
        assert relative_error(feat, expected) < 1e-12


@pytest.mark.parametrize("name", ["resnet20", "resnet8x4"])
def test_equals_the_original_in_float32(name):
    _, arrays = golden.load("models")
    (logits, _), train_logits, _ = outputs(name, jnp.float32)
    assert logits.dtype == jnp.float32
    assert relative_error(logits, arrays[f"{name}/eval_logits"]) < 1e-4
    assert relative_error(train_logits, arrays[f"{name}/train_logits"]) < 1e-4


def test_every_model_is_in_the_golden_vectors():
    assert set(MODELS) == set(golden.load("models")[0])


@pytest.mark.parametrize("name", MODELS)
def test_parameter_count(name):
    shapes = jax.eval_shape(
        create_model(name).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == golden.load("models")[0][name]["num_params"]


FAN_OUT_NORMAL = ("resnet", "ResNet", "wrn", "vgg", "Mobile")
SMALL_CLASSIFIER = ("vgg", "Mobile")
ZERO_CLASSIFIER_BIAS = ("wrn", "vgg", "Mobile")


SMALLEST = ("resnet8x4", "ResNet18", "wrn_16_1", "vgg8", "MobileNetV2")
"""The smallest of each family; the others are initialised by the same code."""


@pytest.mark.parametrize(
    "name",
    [
        name
        if name.startswith((*SMALLEST, "Shuffle"))
        else pytest.param(name, marks=pytest.mark.slow)
        for name in MODELS
    ],
)
def test_initialisation_is_the_original_s(name):
    """Compares the moments of kernels and biases, relative to the expected ones."""
    init = jax.jit(create_model(name).init)
    params = init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    kernels = []
    for path, leaf in flax.traverse_util.flatten_dict(params).items():
        leaf = np.asarray(leaf, np.float64)
        if path[-1] == "scale":
            np.testing.assert_array_equal(leaf, 1)
        elif path[-1] == "kernel" and leaf.ndim == 4:
            height, width, inputs, filters = leaf.shape
            fan_out, fan_in = filters * height * width, inputs * height * width
            normal = name.startswith(FAN_OUT_NORMAL)
            std = math.sqrt(2 / fan_out) if normal else 1 / math.sqrt(3 * fan_in)
            kernels.append(leaf.ravel() / std)
        elif path[-1] == "kernel":
            small = name.startswith(SMALL_CLASSIFIER)
            std = 0.01 if small else 1 / math.sqrt(3 * len(leaf))
            assert leaf.std() == pytest.approx(std, rel=0.03)
            assert (np.abs(leaf).max() <= 1.001 * std * math.sqrt(3)) != small
            bound = 0 if name.startswith(ZERO_CLASSIFIER_BIAS) else math.sqrt(3) * std
            bias = np.asarray(params[path[0]]["bias"])
            assert np.abs(bias).max() <= 1.001 * bound
            assert np.std(bias) == pytest.approx(bound / math.sqrt(3), rel=0.2)
        elif (*path[:-1], "kernel") not in flax.traverse_util.flatten_dict(params):
            np.testing.assert_array_equal(leaf, 0)  # of a batch norm
        elif leaf.ndim == 1 and len(path) == 2 and "conv" in path[0]:
            np.testing.assert_array_equal(leaf, 0)
    for kernel in kernels:
        tolerance = 5 / math.sqrt(kernel.size)
        assert abs(kernel.mean()) < tolerance
        assert kernel.std() == pytest.approx(1, abs=tolerance)
    kernels = np.concatenate(kernels)
    # A normal has a fourth moment of 3, truncated at 2σ of 2.4, a uniform of 1.8.
    fourth_moment = 3 if name.startswith(FAN_OUT_NORMAL) else 1.8
    assert np.mean(kernels**4) == pytest.approx(fourth_moment, rel=0.02)


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(UserError, match="resnet8x4"):
        create_model("resnet9")
