"""Plain Flax modules as networks: modes, initialisation, checks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.errors import UserError
from da_jax.models import MODELS, check_axis, check_logits, create_model
from da_jax.models.forward import (
    Outputs,
    eval_mode,
    initialize,
    norms_before_relu,
    train_mode,
)


class MLP(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images):
        x = nn.relu(nn.Dense(16)(images.reshape(len(images), -1)))
        return nn.Dense(self.num_classes)(x)


class ViT(nn.Module):
    num_classes: int
    dtype: jax.typing.DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images, train):
        x = nn.Conv(24, (8, 8), (8, 8), dtype=self.dtype)(images)
        x = x.reshape(len(x), -1, 24)
        x = x + self.param("position", nn.initializers.normal(0.02), x.shape[1:])
        normalized = nn.LayerNorm(dtype=self.dtype)(x)
        x = x + nn.SelfAttention(num_heads=2, dtype=self.dtype)(normalized)
        x = x + nn.Dense(24)(nn.gelu(nn.Dense(48)(nn.LayerNorm()(x))))
        return nn.Dense(self.num_classes)(x.mean(axis=1))


class SmallConvNet(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(8, (3, 3), (2, 2))(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


class SyncedConvNet(nn.Module):
    num_classes: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train):
        x = nn.Conv(8, (3, 3), (2, 2))(images)
        norm = nn.BatchNorm(use_running_average=not train, axis_name=self.axis_name)
        return nn.Dense(self.num_classes)(norm(x).mean(axis=(1, 2)))


PLAIN = (MLP, ViT, SmallConvNet, SyncedConvNet)
WITH_BATCH_NORM = ("SmallConvNet", "SyncedConvNet")


@pytest.fixture(autouse=True)
def register(monkeypatch):
    for network in PLAIN:
        monkeypatch.setitem(MODELS, network.__name__, network)


def images():
    return jax.random.normal(jax.random.key(1), (6, 32, 32, 3))


def mode(network, train):
    """The arguments of the network's own call."""
    return {} if isinstance(network, MLP) else {"train": train}


@pytest.mark.parametrize("name", [network.__name__ for network in PLAIN])
def test_a_plain_module_is_a_network(name):
    network = create_model(name, 7, precision="highest", axis_name="batch")
    variables = initialize(network, jax.random.key(0), images())
    assert set(variables) == {"params", "batch_stats"}
    assert bool(variables["batch_stats"]) == (name in WITH_BATCH_NORM)
    assert norms_before_relu(network, variables["params"]) == []
    check_logits(name, network, 7)

    network = create_model(name, 7)
    outputs = jax.jit(lambda images: eval_mode(network, variables, images))(images())
    assert outputs.features == {} and outputs.logits.dtype == jnp.float32
    expected = network.apply(variables, images(), **mode(network, train=False))
    np.testing.assert_allclose(outputs.logits, expected, atol=1e-5)

    outputs, batch_stats = train_mode(
        network, variables["params"], variables["batch_stats"], images()
    )
    expected, updated = network.apply(
        variables, images(), **mode(network, train=True), mutable=["batch_stats"]
    )
    np.testing.assert_array_equal(outputs.logits, expected)
    assert jax.tree.structure(batch_stats) == jax.tree.structure(
        variables["batch_stats"]
    )
    for found, before, after in zip(
        *map(jax.tree.leaves, (batch_stats, variables["batch_stats"])),
        jax.tree.leaves(updated),
        strict=True,
    ):
        np.testing.assert_array_equal(found, after)
        assert not np.array_equal(found, before)


@pytest.mark.parametrize("name", [network.__name__ for network in PLAIN])
def test_gradients_reach_the_images_in_both_modes(name):
    network = create_model(name, 7)
    variables = initialize(network, jax.random.key(0), images())

    def in_train_mode(images):
        outputs, _ = train_mode(
            network, variables["params"], variables["batch_stats"], images
        )
        return outputs.logits

    def in_eval_mode(images, params=variables["params"]):
        return eval_mode(network, {**variables, "params": params}, images).logits

    for logits in (in_train_mode, in_eval_mode):
        gradients = jax.grad(lambda images, f=logits: (f(images) ** 2).sum())(images())
        assert all(np.any(gradient) for gradient in gradients)
    of_params = jax.grad(lambda params: (in_eval_mode(images(), params) ** 2).sum())(
        variables["params"]
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_params))


def test_a_module_without_precision_computes_in_float32():
    network = create_model("MLP", 7, precision="tensorfloat32")
    variables = initialize(network, jax.random.key(0), images())

    def gradients(images):
        return jax.grad(lambda x: eval_mode(network, variables, x).logits.sum())(images)

    program = str(jax.make_jaxpr(gradients)(images()))
    products = program.count("dot_general[")
    assert products == 4
    assert program.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == products


def test_bfloat16_needs_a_dtype_field():
    assert create_model("ViT", 7, dtype=jnp.bfloat16).dtype == jnp.bfloat16
    with pytest.raises(UserError, match="MLP works in float32 only; use") as error:
        create_model("MLP", 7, dtype=jnp.bfloat16)
    assert "--config.precision=float32 or tensorfloat32" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_module_of_fixed_width_gets_no_classes(monkeypatch):
    layers = [lambda x: x.reshape(len(x), -1), nn.Dense(5)]
    monkeypatch.setitem(MODELS, "fixed", lambda: nn.Sequential(layers))
    network = create_model("fixed", 7)
    check_logits("fixed", network, 5)
    with pytest.raises(UserError, match=r"fixed returns logits \[1, 5\] .* 7 classes"):
        check_logits("fixed", network, 7)


class Wrong(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, images, train):
        x = images.mean(axis=(1, 2))
        if self.kind == "memory":
            self.variable("memory", "mean", jnp.zeros, 3)
        if self.kind == "dropout":
            return nn.Dropout(0.5, deterministic=not train)(x)
        return {"list": [x], "pair": (x, [x])}.get(self.kind, x)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("list", "Wrong returns a list; a network returns logits"),
        ("pair", r"Wrong returns \(.*, list\); a network returns logits"),
        ("memory", "Wrong has variables in memory"),
        ("dropout", "wrong needs random numbers in train mode"),
    ],
)
def test_unfit_networks_are_refused_in_one_line(kind, message):
    with pytest.raises(UserError, match=message) as error:
        check_logits("wrong", Wrong(kind), 3)
    assert "\n" not in str(error.value)


def test_batch_norm_over_several_devices_needs_an_axis():
    small, synced, mlp = (
        create_model(name, 7, axis_name="batch")
        for name in ("SmallConvNet", "SyncedConvNet", "MLP")
    )
    with pytest.raises(UserError, match="over 8 devices; give it a field `axis_name`"):
        check_axis("SmallConvNet", small, "batch", 8)
    check_axis("SmallConvNet", small, "batch", 1)
    check_axis("SmallConvNet", small, None, 8)
    check_axis("SyncedConvNet", synced, "batch", 8)
    check_axis("MLP", mlp, "batch", 8)
    assert synced.axis_name == "batch"


def test_statistics_are_of_all_devices():
    network = create_model("SyncedConvNet", 7, axis_name="batch")
    variables = initialize(network, jax.random.key(0), images())
    alone = create_model("SyncedConvNet", 7)

    def step(network, images):
        return train_mode(
            network, variables["params"], variables["batch_stats"], images
        )

    outputs, batch_stats = step(alone, images())
    split = images().reshape(2, 3, 32, 32, 3)
    on_devices = jax.pmap(lambda x: step(network, x), "batch")(split)
    assert isinstance(on_devices[0], Outputs)
    np.testing.assert_allclose(
        on_devices[0].logits.reshape(6, 7), outputs.logits, atol=1e-4
    )
    jax.tree.map(
        lambda found, expected: np.testing.assert_allclose(
            found[0], expected, rtol=1e-4, atol=1e-6
        ),
        on_devices[1],
        batch_stats,
    )
