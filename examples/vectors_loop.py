"""KD and KD + DA of an MLP on vectors: `python examples/vectors_loop.py`."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

from da_jax import disagreement_augment, losses

vectors, labels = load_digits(return_X_y=True)
vectors = (vectors / 8 - 1).astype("float32")  # [N, 64]
x_test, y_test = vectors[1437:], labels[1437:]


def forward(params, x):
    for weights, bias in params[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = params[-1]
    return x @ weights + bias


def init(width):
    keys = jax.random.split(jax.random.key(0), 2)
    sizes = [(64, width), (width, 10)]
    return [
        (jax.random.normal(key, size) / size[0] ** 0.5, jnp.zeros(size[1]))
        for key, size in zip(keys, sizes, strict=True)
    ]


def fit(name, width, teacher=None, augment=False):
    params, optimizer = init(width), optax.adam(1e-3)
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state, x, y):
        def loss(params):
            batch = x
            if augment:  # no gradient passes through it
                batch = disagreement_augment(x, lambda x: forward(params, x), teacher).x
            logits = forward(params, batch)
            targets = teacher(batch) if teacher else logits  # or learn from labels
            return sum(losses.kd(logits, targets, y).values())

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for batch in jax.random.randint(jax.random.key(1), (500, 64), 0, 1437):
        params, opt_state = step(params, opt_state, vectors[batch], labels[batch])
    accuracy = (forward(params, x_test).argmax(-1) == y_test).mean()
    print(f"{name}: {100 * accuracy:.2f} %")
    return lambda x: forward(params, x)


teacher = fit("teacher", 32)
fit("KD", 8, teacher)
fit("KD + DA", 8, teacher, augment=True)
