"""CTKD's temperature: the authors' gradients, and five steps of SGD against torch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax import declarations
from da_jax.augmentations import Augmented
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.methods import METHODS, MethodInputs, Outputs, create_method, ctkd
from da_jax.training.state import Task, create_train_state
from tests import golden
from tests.training.step_test import given_batch, scalars, update

torch = pytest.importorskip("torch")
functional = torch.nn.functional

DESCRIPTION, _ = golden.logit_methods()
CASES = DESCRIPTION["methods"]["CTKD"]
DEFAULTS = declarations.split(METHODS["CTKD"], {})[1]

STEPS, STEPS_PER_EPOCH, BATCH_SIZE = 5, 2, 8
LEARNING_RATE = 0.005


@pytest.mark.parametrize("case", CASES)
def test_sgd_sees_the_authors_gradient(x64, case):
    expected = CASES[case]
    logits = {
        name: scale * golden.logits_rng(f"101:CTKD:{name}").standard_normal((8, 100))
        for name, scale in (("student", 3), ("teacher", 5))
    }
    inputs = MethodInputs(
        student=Outputs(jnp.asarray(logits["student"]), {}),
        teacher=Outputs(jnp.asarray(logits["teacher"]), {}),
        labels=jnp.array(expected["labels"]),
        indices=jnp.arange(8),
        train_labels=jnp.zeros(8, int),
        epoch=jnp.asarray(float(expected["epoch"])),
        teacher_norms=[],
    )
    method = create_method("CTKD", dtype=jnp.float64)
    variables = method.init(jax.random.key(0), inputs, DEFAULTS)

    @jax.jit
    def total(variables):
        return sum(method.apply(variables, inputs, DEFAULTS).values())

    value, gradient = jax.value_and_grad(total)(variables)
    assert value == pytest.approx(sum(expected["losses"].values()), rel=1e-9)
    assert gradient["params"]["theta"] == pytest.approx(
        expected["grad_of_parameter_as_seen_by_sgd"], rel=1e-9
    )


def test_gradients_turn_as_the_authors_schedule(x64):
    for epoch, factor in DESCRIPTION["lambda_by_epoch"].items():
        found = ctkd.gradient_factor(float(epoch), 1.0, 10.0)
        assert found == pytest.approx(factor, rel=1e-12)


class Linear(nn.Module):
    @nn.compact
    def __call__(self, images):
        flat = images.reshape(len(images), -1)
        return nn.Dense(100, dtype=flat.dtype, param_dtype=flat.dtype)(flat)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, factor):
        ctx.factor = factor
        return theta.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.factor * gradient, None


def torch_temperatures(student, teacher, batches):
    """The temperature of each of the authors' steps, from our initial weights."""
    layers = []
    for params in (student, teacher):
        layer = torch.nn.Linear(3072, 100).double()
        with torch.no_grad():
            layer.weight.copy_(
                torch.from_numpy(np.array(params["Dense_0"]["kernel"].T))
            )
            layer.bias.copy_(torch.from_numpy(np.array(params["Dense_0"]["bias"])))
        layers.append(layer)
    theta = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.SGD(
        [*layers[0].parameters(), theta], LEARNING_RATE, momentum=0.9, weight_decay=5e-4
    )
    for step, (images, labels) in enumerate(batches):
        flat = torch.from_numpy(np.array(images)).flatten(1)
        epoch = step // STEPS_PER_EPOCH + 1
        factor = 0.5 * (np.cos(min(epoch, 10) / 10 * np.pi) + 1) - 1
        temperature = 1 + 20 * torch.sigmoid(Reversed.apply(theta, factor))
        yield temperature.item()
        of_student = layers[0](flat)
        kl = functional.kl_div(
            functional.log_softmax(of_student / temperature, dim=1),
            functional.softmax(layers[1](flat).detach() / temperature, dim=1),
            reduction="batchmean",
        )
        ce = functional.cross_entropy(of_student, torch.from_numpy(labels).long())
        loss = 0.1 * ce + 0.9 * kl * temperature**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_five_steps_of_sgd_equal_torch_s(x64):
    _, arrays = golden.load("training")
    batches = []
    for start in range(0, STEPS * BATCH_SIZE, BATCH_SIZE):
        images = jnp.asarray(arrays["images"][start : start + BATCH_SIZE])
        images = PREPROCESSING.normalize(images, jnp.float64)
        batches.append((images, arrays["labels"][start : start + BATCH_SIZE]))
    task = Task(
        student=Linear(),
        teacher=Linear(),
        method=create_method("CTKD", dtype=jnp.float64),
        preprocessing=PREPROCESSING,
        dtype=jnp.float64,
    )
    weights = Linear().init(jax.random.key(1), batches[0][0])["params"]
    teacher = {
        "params": jax.tree.map(lambda leaf: 3 * leaf, weights),
        "batch_stats": {},
    }
    hyperparameters = scalars(DEFAULTS, learning_rate=LEARNING_RATE).replace(
        steps_per_epoch=STEPS_PER_EPOCH
    )
    state = create_train_state(task, 0, DEFAULTS)
    expected = torch_temperatures(state.params, teacher["params"], batches)

    @jax.jit
    def take_step(state, images, labels):
        augmented = Augmented(given_batch(images, labels), {}, {})
        return update(task, teacher, state, augmented, hyperparameters)[0]

    reached = []
    for (images, labels), temperature in zip(batches, expected, strict=True):
        theta = state.auxiliary["params"]["theta"]
        reached.append(1 + 20 * jax.nn.sigmoid(theta))
        assert reached[-1] == pytest.approx(temperature, rel=1e-12)
        state = take_step(state, images, jnp.asarray(labels))
    assert abs(reached[-1] - reached[0]) > 1e-5
