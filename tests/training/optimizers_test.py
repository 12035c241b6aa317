"""Optimizers and schedules against PyTorch's, and against rules by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.training import optimizers
from da_jax.training.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    Optimizer,
    OptimizerHyperparameters,
)

STEPS, WARMUP = 9, 3
HYPERPARAMETERS = OptimizerHyperparameters(
    learning_rate=0.05,
    decay_rate=0.1,
    decay_steps=np.array([4, 7]),
    momentum=0.9,
    weight_decay=0.02,
    dot_delta=0.075,
    warmup_steps=0.0,
    num_steps=STEPS,
    clip_norm=1.5,
)

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


def random_params():
    rng = np.random.default_rng(1)
    shapes = {"kernel": (4, 3), "bias": (3,), "scale": (3,)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def random_gradients(step):
    """Of norms from 0.6 to 9, so that some are clipped and some aren't."""
    size = 0.15 if step % 3 == 0 else 2.0
    return jax.tree.map(lambda leaf: size * np.cos(leaf + step), random_params())


def train(optimizer, hyperparameters=HYPERPARAMETERS, given=random_gradients):
    """The parameters after each step."""
    params = jax.tree.map(jnp.asarray, random_params())
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for step in range(STEPS):
        params, state = update(given(step), state, params, step, hyperparameters)
        yield params


def torch_rates(schedule, warmup):
    """By PyTorch's schedulers, which start after a warm-up; marks count from 0."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=HYPERPARAMETERS.learning_rate)
    length = STEPS - warmup
    schedulers = torch.optim.lr_scheduler
    scheduler = {
        "step": lambda: schedulers.MultiStepLR(optimizer, [4, 7], 0.1),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, length),
        "linear": lambda: schedulers.LinearLR(optimizer, 1.0, 0.0, length),
        "constant": lambda: schedulers.ConstantLR(optimizer, 1.0),
    }[schedule]()
    falling = []
    for _ in range(STEPS):
        falling.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    rising = HYPERPARAMETERS.learning_rate * np.arange(warmup) / max(warmup, 1)
    after = falling[warmup:] if schedule == "step" else falling[:length]
    return np.concatenate([rising, after])


@pytest.mark.parametrize("warmup", [0, WARMUP])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_equals_pytorch_s(x64, schedule, warmup):
    of = HYPERPARAMETERS._replace(warmup_steps=float(warmup))
    found = jax.vmap(lambda step: Optimizer(schedule=schedule).learning_rate(step, of))(
        jnp.arange(STEPS)
    )
    np.testing.assert_allclose(found, torch_rates(schedule, warmup), rtol=1e-12)


def test_a_warmup_of_part_of_a_step_begins_at_0(x64):
    of = HYPERPARAMETERS._replace(warmup_steps=1.6)
    found = [Optimizer().learning_rate(step, of) for step in range(3)]
    np.testing.assert_allclose(found, [0.0, 0.05 / 1.6, 0.05], rtol=1e-12)


def torch_optimizer(kind, **options):
    """Steps of a PyTorch optimizer as a generator, with clipping and a schedule."""

    def steps(optimizer):
        torch = pytest.importorskip("torch")
        params = {k: torch.tensor(v) for k, v in random_params().items()}
        whole = optimizer.decay_bias_and_norm
        decayed = {name: whole or name == "kernel" for name in params}
        decay = HYPERPARAMETERS.weight_decay
        groups = [
            {"params": [params[name]], "weight_decay": decay if decayed[name] else 0.0}
            for name in params
        ]
        made = getattr(torch.optim, kind)(groups, lr=1.0, **options)
        for step, rate in enumerate(torch_rates(optimizer.schedule, WARMUP)):
            for group in made.param_groups:
                group["lr"] = rate
            for name, gradient in random_gradients(step).items():
                params[name].grad = torch.tensor(gradient)
            if optimizer.clips:
                torch.nn.utils.clip_grad_norm_(params.values(), 1.5)
            made.step()
            yield {name: param.numpy().copy() for name, param in params.items()}

    return steps


def numpy_optimizer(rule):
    """Steps by a rule: (gradient, memory, step, param) to (direction, memory)."""

    def steps(optimizer):
        params, memory = random_params(), {name: None for name in random_params()}
        for step, rate in enumerate(torch_rates(optimizer.schedule, WARMUP)):
            gradients = random_gradients(step)
            norm = np.sqrt(sum(np.sum(leaf**2) for leaf in gradients.values()))
            factor = min(1, 1.5 / (norm + 1e-6)) if optimizer.clips else 1
            for name, param in params.items():
                whole = optimizer.decay_bias_and_norm or name == "kernel"
                decay = whole * HYPERPARAMETERS.weight_decay * param
                direction, memory[name] = rule(
                    factor * gradients[name], memory[name], step, param, decay
                )
                params[name] = param - rate * direction
            yield dict(params)

    return steps


def lion_rule(gradient, memory, step, param, decay):
    memory = np.zeros_like(param) if memory is None else memory
    direction = np.sign(0.9 * memory + 0.1 * gradient) + decay
    return direction, 0.99 * memory + 0.01 * gradient


def lamb_rule(gradient, memory, step, param, decay):
    first, second = memory or (0, 0)
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
    direction = corrected[0] / (np.sqrt(corrected[1]) + 1e-6) + decay
    trust = np.linalg.norm(param) / np.linalg.norm(direction)
    return trust * direction, (first, second)


INDEPENDENT = {
    "sgd": torch_optimizer("SGD", momentum=0.9),
    "adamw": torch_optimizer("AdamW", betas=(0.9, 0.999), eps=1e-8),
    "lion": numpy_optimizer(lion_rule),
    "lamb": numpy_optimizer(lamb_rule),
}
"""What each optimizer does, computed without optax; that of DOT is above."""


def test_every_optimizer_is_computed_independently():
    assert {*INDEPENDENT, "dot"} == OPTIMIZERS.keys()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "cosine", "decay_bias_and_norm": False},
        {"schedule": "linear", "clips": True},
    ],
    ids=["plain", "some decayed", "clipped"],
)
@pytest.mark.parametrize("name", INDEPENDENT)
def test_an_optimizer_equals_an_independent_one(x64, name, options):
    optimizer = Optimizer(name, **options)
    of = HYPERPARAMETERS._replace(warmup_steps=float(WARMUP))
    steps = zip(train(optimizer, of), INDEPENDENT[name](optimizer), strict=True)
    for found, expected in steps:
        for leaf in expected:
            np.testing.assert_allclose(found[leaf], expected[leaf], rtol=1e-10)


def of_two_parts(step):
    whole = random_gradients(step)
    task = jax.tree.map(lambda leaf: np.sin(7 * leaf), whole)
    return optimizers.Gradients(task, jax.tree.map(np.subtract, whole, task))


def test_dot_clips_both_gradients_by_the_norm_of_their_sum(x64):
    torch = pytest.importorskip("torch")

    def clipped(step):
        leaves = [torch.tensor(leaf) for leaf in random_gradients(step).values()]
        for leaf in leaves:
            leaf.grad = leaf.clone()
        norm = torch.nn.utils.clip_grad_norm_(leaves, 1.5).item()
        factor = min(1, 1.5 / (norm + 1e-6))
        return jax.tree.map(lambda leaf: leaf * factor, of_two_parts(step))

    given, reference = (
        train(Optimizer("dot", clips=clips), given=gradients)
        for clips, gradients in ((True, of_two_parts), (False, clipped))
    )
    for found, expected in zip(given, reference, strict=True):
        for leaf in expected:
            np.testing.assert_allclose(found[leaf], expected[leaf], rtol=1e-10)


def test_dot_decays_weights_alone_if_asked(x64):
    def last(decay_bias_and_norm, weight_decay):
        of = HYPERPARAMETERS._replace(weight_decay=weight_decay)
        optimizer = Optimizer("dot", decay_bias_and_norm=decay_bias_and_norm)
        *_, params = train(optimizer, of, of_two_parts)
        return params

    found, decayed, not_decayed = last(False, 0.02), last(True, 0.02), last(True, 0.0)
    np.testing.assert_allclose(found["kernel"], decayed["kernel"], rtol=1e-12)
    for name in ("bias", "scale"):
        np.testing.assert_allclose(found[name], not_decayed[name], rtol=1e-12)
        assert not np.allclose(found[name], decayed[name])
