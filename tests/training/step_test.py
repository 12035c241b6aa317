"""Training steps against the original's, and properties of every step."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from da_jax.augmentations import FGSM, Augmentation
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Examples
from da_jax.data.batch import Batch
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.methods import create_method
from da_jax.models import create_model
from da_jax.models.network import PRECISIONS
from da_jax.training import step
from da_jax.training.optimizers import OptimizerHyperparameters
from da_jax.training.sampling import epoch_order, sample_batch
from da_jax.training.state import COIN, Hyperparameters, Task, create_train_state
from da_jax.training.update import update_student
from tests import golden
from tests.parity import by_torch_key, relative_error, variables

LATER = DisagreementAugmentation(
    divergence="kl", update_batch_stats=False, reduce_on_plateau=False
)
PLAIN_KD = dict(temperature=4.0, ce_weight=0.1, kd_weight=0.9)
LATER_KD = dict(temperature=2.0, ce_weight=0.1, kd_weight=9.0)


def scalars(
    weights,
    ascent_learning_rate=0.01778,
    probability=1.0,
    ascent_steps=1,
    target=0.0,
    learning_rate=0.05,
):
    return Hyperparameters(
        method=weights,
        augmentation={
            "probability": probability,
            "learning_rate": ascent_learning_rate,
            "steps": ascent_steps,
            "target": target,
            "radius": 0.0,
        },
        optimizer=OptimizerHyperparameters(
            learning_rate=learning_rate,
            decay_rate=0.1,
            decay_steps=np.array([1000]),
            momentum=0.9,
            weight_decay=5e-4,
            dot_delta=0.075,
        ),
        steps_per_epoch=1000,
    )


def pair_task(augmentation, dtype, logit_standardization=False):
    settings = {"logit_standardization": logit_standardization}
    return Task(
        student=create_model("resnet8x4", dtype=dtype, precision="highest"),
        teacher=create_model("resnet32x4", dtype=dtype, precision="highest"),
        method=create_method("KD", **settings),
        augmentation=augmentation,
        preprocessing=PREPROCESSING,
        dtype=dtype,
    )


def given_batch(images, labels):
    """A batch of these images."""
    return Batch(images, labels, jnp.zeros_like(labels))


def update(task, teacher, state, augmented, hyperparameters):
    """The student after an update on a batch of given images, and the metrics."""
    batch = augmented.batch
    (outputs,) = step.teacher_forward(task, teacher, [batch.views])
    examples = Examples(batch.images, batch.labels)
    return update_student(
        task, teacher, examples, state, augmented, outputs, hyperparameters
    )


def train(task, hyperparameters, start, steps, batch_size=8):
    """(state, augmented images, metrics) after each step on the golden batches."""
    _, arrays = golden.load("training")
    student = variables("resnet8x4", 1, task.dtype)
    teacher = variables("resnet32x4", 2, task.dtype)
    state = create_train_state(task, 0).replace(**student)

    @jax.jit
    def run(state, images, labels):
        batch = given_batch(images, labels)
        augmented = step.augment(task, teacher, state, batch, hyperparameters)
        state, metrics = update(task, teacher, state, augmented, hyperparameters)
        return state, augmented.batch.images, metrics

    for position in range(start, start + steps * batch_size, batch_size):
        batch = slice(position, position + batch_size)
        images = jnp.asarray(arrays["images"][batch])
        images = task.preprocessing.normalize(images, task.dtype)
        state, moved, metrics = run(state, images, jnp.asarray(arrays["labels"][batch]))
        yield state, moved, metrics


def running_and_params(state):
    return by_torch_key("resnet8x4", state.variables)


TRAJECTORIES = {"kd": (0, 3), "da_1step": (1, 3), "da_3steps": (3, 1)}
"""How many steps of ascent, and how many of training."""


def trajectory(kind, dtype, steps):
    """`train` on the golden batches of `kind`."""
    ascent_steps, _ = TRAJECTORIES[kind]
    augmentation = DisagreementAugmentation() if ascent_steps else Augmentation()
    description, _ = golden.load("training")
    return train(
        pair_task(augmentation, dtype),
        scalars(PLAIN_KD, ascent_steps=ascent_steps),
        description[kind]["start"],
        steps,
    )


@pytest.mark.parametrize("kind", TRAJECTORIES)
def test_trajectory_equals_the_original_in_float64(x64, kind):
    ascent_steps, steps = TRAJECTORIES[kind]
    description, arrays = golden.load("training")
    expected = description[kind]
    trained = trajectory(kind, jnp.float64, steps)
    for index, (state, moved, metrics) in enumerate(trained):
        prefix = f"{kind}/step{index}/"
        if ascent_steps:
            reference = arrays[f"{prefix}student_input{ascent_steps}"]
            assert np.abs(moved - reference).max() < 1e-6
        for name, loss in expected["steps"][index]["losses"].items():
            assert float(metrics[name].compute()) == pytest.approx(loss, rel=1e-7)
        leaves = running_and_params(state)
        for key, norm in expected["steps"][index]["param_norm"].items():
            assert np.linalg.norm(leaves[key]) == pytest.approx(norm, rel=1e-7), key
        running = [key for key in arrays if key.startswith(f"{prefix}running/")]
        assert running
        for key in running:
            value = leaves[key.removeprefix(f"{prefix}running/")]
            assert relative_error(value, arrays[key]) < 1e-7, key


def float32_share(kind):
    """The share of values that the first training step moves to within 1e-3."""
    _, arrays = golden.load("training")
    ((_, moved, _),) = trajectory(kind, jnp.float32, steps=1)
    reference = arrays[f"{kind}/step0/student_input{TRAJECTORIES[kind][0]}"]
    return float(np.mean(np.abs(moved - reference) < 1e-3))


@pytest.mark.parametrize(
    ("kind", "share"),
    [pytest.param("da_1step", 1.0, marks=pytest.mark.slow), ("da_3steps", 0.999)],
)
def test_float32_follows_the_original(kind, share):
    """In a process with one device: with eight, XLA's CPU convolutions round worse."""
    program = (
        f"from tests.training.step_test import float32_share as f; print(f({kind!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
        env=os.environ | {"XLA_FLAGS": ""},
    )
    assert float(done.stdout) >= share


LATER_VARIANTS = {
    "fgsm": (FGSM(), 1, False),
    "kl_1step": (LATER, 1, False),
    "kl_2steps_logit_stand": (
        dataclasses.replace(LATER, logit_standardization=True),
        2,
        True,
    ),
    "kd_logit_stand": (Augmentation(), 0, True),
}
"""The ascent, how many steps of it, and whether KD standardises logits."""


@pytest.mark.parametrize("kind", LATER_VARIANTS)
def test_later_variant_equals_the_original_in_float64(x64, kind):
    augmentation, ascent_steps, logit_standardization = LATER_VARIANTS[kind]
    description, arrays = golden.load("training")
    expected = description["later_variants"][kind]
    hyperparameters = scalars(
        LATER_KD,
        ascent_learning_rate=0.01778 if kind == "fgsm" else 0.00192,
        ascent_steps=ascent_steps,
    )
    trained = train(
        pair_task(augmentation, jnp.float64, logit_standardization),
        hyperparameters,
        expected["start"],
        steps=1,
    )
    ((state, moved, metrics),) = trained
    assert np.abs(moved - arrays[f"{kind}/student_input"]).max() < 1e-6
    for name, loss in expected["losses"].items():
        assert float(metrics[name].compute()) == pytest.approx(loss, rel=1e-7)
    leaves = running_and_params(state)
    for key in ("bn1.running_mean", "bn1.running_var"):
        assert relative_error(leaves[key], arrays[f"{kind}/{key}"]) < 1e-7


def tiny_task(augmentation, dtype=jnp.float32):
    return Task(
        student=create_model("resnet8", dtype=dtype),
        teacher=create_model("resnet8", dtype=dtype),
        method=create_method("KD"),
        augmentation=augmentation,
        preprocessing=PREPROCESSING,
        dtype=dtype,
    )


def random_order(state, epoch=0):
    """Of the golden images in some epoch, as each of its steps were one."""
    return epoch_order(state.replace(step=jnp.int32(epoch)), 1, 68)


def whole_step(augmentation, probability, steps=1):
    """The state and metrics after `step.train_step` on golden images."""
    _, arrays = golden.load("training")
    examples = Examples(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    tiny = tiny_task(augmentation)
    state = jax.jit(functools.partial(create_train_state, tiny))(3)
    teacher = variables("resnet8", 2, jnp.float32)
    hyperparameters = scalars(PLAIN_KD, probability=probability)
    run = jax.jit(step.train_step, static_argnums=(0, 7))
    for epoch in range(steps):
        order = random_order(state, epoch)
        position = jnp.int32(8)
        (state,), (metrics,) = run(
            *(tiny, (state,), teacher, examples, (order,), position),
            *((hyperparameters,), 8),
        )
    return state, metrics


def test_tails_is_plain_distillation():
    without, _ = whole_step(Augmentation(), 0.0)
    tails, metrics = whole_step(DisagreementAugmentation(), 0.0)
    heads, _ = whole_step(DisagreementAugmentation(), 1.0)
    assert int(metrics["disagreement_before"].count) == 0

    def distance(state):
        differences = jax.tree.map(jnp.subtract, state.params, without.params)
        return optax.tree.norm(differences) / optax.tree.norm(without.params)

    assert distance(tails) < 1e-6 < distance(heads)


def test_heads_raises_the_disagreement_and_leaves_a_trace():
    heads, metrics = whole_step(DisagreementAugmentation(), 1.0)
    tails, _ = whole_step(DisagreementAugmentation(), 0.0)
    before = metrics["disagreement_before"].compute()
    after = metrics["disagreement_after"].compute()
    assert after > before > 0
    assert not np.array_equal(
        heads.batch_stats["bn1"]["mean"], tails.batch_stats["bn1"]["mean"]
    )


def test_alpha_adapts_until_the_disagreement_rises_as_far_as_it_shall():
    _, arrays = golden.load("training")
    examples = Examples(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    tiny = tiny_task(DisagreementAugmentation())
    state = jax.jit(functools.partial(create_train_state, tiny))(3)
    teacher = variables("resnet8", 2, jnp.float32)
    hyperparameters = scalars(
        PLAIN_KD, ascent_learning_rate=0.001, target=0.05, learning_rate=1e-6
    )
    order = random_order(state)

    @jax.jit
    def run(state):
        (state,), (metrics,) = step.train_step(
            *(tiny, (state,), teacher, examples, (order,), jnp.int32(8)),
            *((hyperparameters,), 8),
        )
        after = metrics["disagreement_after"].compute()
        return state, after / metrics["disagreement_before"].compute() - 1

    rises = []
    for _ in range(80):
        state, rise = run(state)
        rises.append(float(rise))
    assert np.mean(rises[:3]) < 0.01
    assert np.mean(rises[-20:]) == pytest.approx(0.05, rel=0.2)
    assert 1 < state.ascent_scale < 100


def test_a_run_is_a_function_of_its_seed():
    one, _ = whole_step(DisagreementAugmentation(), 0.5, steps=2)
    two, _ = whole_step(DisagreementAugmentation(), 0.5, steps=2)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


def test_random_init_starts_from_noise_where_the_coin_says_so():
    """Without a step of ascent the images are those that it starts from."""
    _, arrays = golden.load("training")
    examples = Examples(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    teacher = variables("resnet8", 2, jnp.float32)

    def start(augmentation, probability):
        tiny = tiny_task(augmentation)
        state = create_train_state(tiny, 3)
        hyperparameters = scalars(PLAIN_KD, probability=probability, ascent_steps=0)
        order = random_order(state)
        sampled = sample_batch(tiny, examples, jnp.int32(0), 32, state, order)
        augmented = step.augment(tiny, teacher, state, sampled, hyperparameters)
        return np.asarray(augmented.batch.images), np.asarray(augmented.batch.labels)

    images, labels = start(DisagreementAugmentation(), 1.0)
    noise, same_labels = start(DisagreementAugmentation(random_init=True), 1.0)
    np.testing.assert_array_equal(labels, same_labels)
    assert -1 <= noise.min() < -0.999 and 0.999 < noise.max() < 1
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(3**-0.5, rel=0.01)
    tails, _ = start(DisagreementAugmentation(random_init=True), 0.0)
    np.testing.assert_array_equal(tails, images)


@pytest.mark.parametrize("name", PRECISIONS)
def test_whatever_the_precision_all_but_activations_is_float32(name):
    reference = tiny_task(DisagreementAugmentation())
    network = create_model("resnet8", **PRECISIONS[name])
    tiny = dataclasses.replace(reference, student=network, teacher=network)
    _, arrays = golden.load("training")
    examples = Examples(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    teacher = variables("resnet8", 2, jnp.float32)
    losses = []
    for task in (tiny, reference):
        state = create_train_state(task, 3)
        order = random_order(state)
        (state,), (metrics,) = jax.jit(step.train_step, static_argnums=(0, 7))(
            *(task, (state,), teacher, examples, (order,), jnp.int32(8)),
            *((scalars(PLAIN_KD),), 8),
        )
        dtypes = {leaf.dtype for leaf in jax.tree.leaves((state.variables, metrics))}
        assert dtypes == {jnp.dtype("float32"), jnp.dtype("int32")}
        losses.append(float(metrics["loss"].compute()))
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    logits, features = network.apply(teacher, jnp.zeros((2, 32, 32, 3)))
    assert logits.dtype == features["pooled_feat"].dtype == jnp.float32
    assert {feat.dtype for feat in features["feats"]} == {
        jnp.dtype(PRECISIONS[name]["dtype"])
    }


def test_the_coin_falls_as_often_as_it_should():
    state = jax.jit(functools.partial(create_train_state, tiny_task(Augmentation())))(0)

    def coin(number):
        key = state.replace(step=number).step_key(COIN)
        return jax.random.bernoulli(key, 0.7374)

    heads = jax.vmap(coin)(jnp.arange(5000)).mean()
    assert heads == pytest.approx(0.7374, abs=0.02)
