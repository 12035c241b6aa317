"""A small convolutional network with batch norm, by Linen, by NNX and by Equinox."""

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

CLASSES, CHANNELS = 5, 4
SHAPE = (6, 6, 3)


class Linen(linen.Module):
    axis_name: str | None = None

    @linen.compact
    def __call__(self, x, train):
        x = linen.Conv(CHANNELS, (3, 3), param_dtype=x.dtype, dtype=x.dtype)(x)
        x = linen.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            axis_name=self.axis_name,
            param_dtype=x.dtype,
            dtype=x.dtype,
        )(x)
        x = linen.relu(x).mean(axis=(1, 2))
        return linen.Dense(CLASSES, param_dtype=x.dtype, dtype=x.dtype)(x)


def variables(seed, dtype=jnp.float32):
    """Of `Linen`: `params` and `batch_stats`."""
    network = Linen()
    made = network.init(jax.random.key(seed), jnp.zeros((1, *SHAPE), dtype), False)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), dict(made))


def linen_functions(student, teacher, axis_name=None):
    """The student with its state, and the teacher, for `disagreement_augment`."""
    network = Linen(axis_name=axis_name)

    def student_function(x, batch_stats):
        logits, moved = network.apply(
            {"params": student["params"], "batch_stats": batch_stats},
            x,
            True,
            mutable=["batch_stats"],
        )
        return logits, moved["batch_stats"]

    def teacher_function(x):
        return Linen().apply(teacher, x, False)

    return student_function, teacher_function


class NNX(nnx.Module):
    def __init__(self, weights):
        params, stats = weights["params"], weights["batch_stats"]["BatchNorm_0"]
        options = dict(rngs=nnx.Rngs(0), param_dtype=jnp.float64, dtype=jnp.float64)
        self.conv = nnx.Conv(SHAPE[-1], CHANNELS, (3, 3), **options)
        self.norm = nnx.BatchNorm(CHANNELS, momentum=0.9, **options)
        self.dense = nnx.Linear(CHANNELS, CLASSES, **options)
        for layer, name in ((self.conv, "Conv_0"), (self.dense, "Dense_0")):
            layer.kernel.set_value(params[name]["kernel"])
            layer.bias.set_value(params[name]["bias"])
        self.norm.scale.set_value(params["BatchNorm_0"]["scale"])
        self.norm.bias.set_value(params["BatchNorm_0"]["bias"])
        self.norm.mean.set_value(stats["mean"])
        self.norm.var.set_value(stats["var"])

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x))).mean(axis=(1, 2))
        return self.dense(x)


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    dense: eqx.nn.Linear

    def __init__(self):
        key = jax.random.key(0)
        self.conv = eqx.nn.Conv2d(SHAPE[-1], CHANNELS, 3, padding=1, key=key)
        self.norm = eqx.nn.BatchNorm(CHANNELS, axis_name="batch", mode="batch")
        self.dense = eqx.nn.Linear(CHANNELS, CLASSES, key=key)

    def __call__(self, x, state):
        x, state = self.norm(self.conv(x), state)
        return self.dense(jax.nn.relu(x).mean(axis=(1, 2))), state


def equinox_network(weights):
    """`Equinox` with the weights of `Linen`, and its state."""
    params, stats = weights["params"], weights["batch_stats"]["BatchNorm_0"]
    model, state = eqx.nn.make_with_state(Equinox)()
    conv, dense, norm = (params[f"{name}_0"] for name in ("Conv", "Dense", "BatchNorm"))
    new = (
        conv["kernel"].transpose(3, 2, 0, 1),
        conv["bias"].reshape(-1, 1, 1),
        dense["kernel"].T,
        dense["bias"],
        norm["scale"],
        norm["bias"],
    )
    model = eqx.tree_at(
        lambda model: [
            *(model.conv.weight, model.conv.bias),
            *(model.dense.weight, model.dense.bias),
            *(model.norm.weight, model.norm.bias),
        ],
        model,
        list(new),
    )
    running = jax.tree.map(
        lambda leaf, new: jnp.asarray(new).reshape(leaf.shape),
        state.get(model.norm.batch_state_index),
        (stats["mean"], stats["var"]),
    )
    return model, state.set(model.norm.batch_state_index, running)


def images(count, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *SHAPE)).astype(dtype)
