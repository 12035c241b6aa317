"""The architectures against the original's outputs, and their initialisation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.datasets.cifar100 import PREPROCESSING
from da_jax.errors import UserError
from da_jax.models import MODELS, create_model
from tests import golden
from tests.parity import by_torch_key, relative_error, variables


def outputs(name, dtype):
    """Eval-mode outputs, train-mode logits and the running statistics after them."""
    description, arrays = golden.load("models")
    model = create_model(name, dtype=dtype)
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
        before = features["preact_feats"][index]
        np.testing.assert_array_equal(np.maximum(before, 0), feat)


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


def test_initialisation_is_the_original_s():
    init = jax.jit(create_model("resnet8x4").init)
    params = init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    kernel = np.asarray(params["layer3_0"]["conv2"]["kernel"])
    std = math.sqrt(2 / (256 * 9))  # Kaiming normal, fan-out
    assert kernel.std() == pytest.approx(std, rel=0.01)
    assert np.abs(kernel).max() > 4 * std  # not truncated
    bound = 1 / math.sqrt(256)  # PyTorch's default of linear layers
    for leaf in (params["fc"]["kernel"], params["fc"]["bias"]):
        assert np.abs(leaf).max() <= bound
        assert np.std(leaf) == pytest.approx(bound / math.sqrt(3), rel=0.15)
    np.testing.assert_array_equal(params["bn1"]["scale"], 1)


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(UserError, match="resnet8x4"):
        create_model("resnet9")
