"""DOT against mdistiller's update, written out by hand in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.training import optimizers

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, DELTA = 0.05, 0.9, 5e-4, 0.075
SHAPES = {"both": (4, 3), "task": (5,), "distillation": (2, 2)}
"""Parameters by the gradients they have."""


def gradients(step):
    """Of the task and of the distillation; zero where there is none."""
    rng = np.random.default_rng(step)
    drawn = [
        {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
        for _ in range(2)
    ]
    drawn[0]["distillation"] *= 0
    drawn[1]["task"] *= 0
    return drawn


def torch_steps(params, steps):
    """Five steps of the rule, with a buffer for each gradient that there is."""
    torch = pytest.importorskip("torch")
    params = {name: torch.tensor(value) for name, value in params.items()}
    buffers = [{}, {}]
    for step in range(steps):
        for kind, by_name in enumerate(gradients(step)):
            for name, gradient in by_name.items():
                if name != "both" and name != ("task", "distillation")[kind]:
                    continue
                gradient = torch.tensor(gradient)
                if kind == 0 or name == "distillation":
                    gradient = gradient + WEIGHT_DECAY * params[name]
                momentum = MOMENTUM
                if name == "both":
                    momentum += DELTA if kind else -DELTA
                if name in buffers[kind]:
                    buffers[kind][name].mul_(momentum).add_(gradient)
                else:
                    buffers[kind][name] = gradient.clone()
                params[name] = params[name] - LEARNING_RATE * buffers[kind][name]
    return params


def test_dot_equals_the_original_s_rule_over_five_steps(x64):
    rng = np.random.default_rng(9)
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    params = jax.tree.map(jnp.asarray, start)
    optimizer = optimizers.dot(LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, DELTA)
    state = optimizer.init(params)
    for step in range(5):
        of_both = optimizers.Gradients(*jax.tree.map(jnp.asarray, gradients(step)))
        updates, state = jax.jit(optimizer.update)(of_both, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    for name, expected in torch_steps(start, 5).items():
        np.testing.assert_allclose(params[name], expected, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_without_delta_dot_is_sgd_on_the_sum(x64, momentum):
    scalars = (LEARNING_RATE, momentum, WEIGHT_DECAY)
    dot, sgd = optimizers.dot(*scalars, 0.0), optimizers.sgd(*scalars)
    params = {"both": jnp.ones((4, 3))}
    states = [optimizer.init(params) for optimizer in (dot, sgd)]
    found = [params, params]
    for step in range(3):
        of_both = optimizers.Gradients(*({"both": g["both"]} for g in gradients(step)))
        total = jax.tree.map(jnp.add, *of_both)
        for index, (optimizer, given) in enumerate(((dot, of_both), (sgd, total))):
            updates, states[index] = optimizer.update(
                given, states[index], found[index]
            )
            found[index] = jax.tree.map(jnp.add, found[index], updates)
    np.testing.assert_allclose(found[0]["both"], found[1]["both"], rtol=1e-12)
