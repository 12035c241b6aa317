"""The same numbers in one program and in parts, on one device and on two."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from da_jax.datasets import Examples
from da_jax.datasets.cifar100 import PREPROCESSING
from da_jax.disagreement import DisagreementAugmentation
from da_jax.errors import UserError
from da_jax.methods import create_method
from da_jax.models import create_model
from da_jax.parallel import AXIS_NAME, Programs
from da_jax.step import Problem
from tests import golden
from tests.step_test import PLAIN_KD, numbers


def programs(devices, dtype=jnp.float64):
    network = functools.partial(create_model, dtype=dtype, axis_name=AXIS_NAME)
    problem = Problem(
        student=network("resnet8"),
        teacher=network("resnet8"),
        method=create_method("KD", {}),
        augmentation=DisagreementAugmentation(steps=2),
        preprocessing=PREPROCESSING,
        dtype=dtype,
        axis_name=AXIS_NAME,
    )
    return Programs(problem, jax.devices()[:devices])


def two_steps(made, in_one=False):
    """The student after two steps, their metrics and those of the evaluation."""
    _, arrays = golden.load("training")
    examples = made.replicate(Examples(arrays["images"], arrays["labels"]))
    state = made.create_train_state(0)
    teacher = jax.tree.map(
        lambda leaf: leaf + 0.01,
        {"params": state.params, "batch_stats": state.batch_stats},
    )
    hyperparameters = made.replicate(numbers(PLAIN_KD))
    order = made.epoch_order(state, 0, 68)
    run = made._in_one() if in_one else made._in_parts()
    batches = []
    for position in (0, 8):
        state, metrics = run(
            state, teacher, examples, order, np.int32(position), hyperparameters, 8
        )
        batches.append(metrics)
    evaluation = made.evaluate(
        {"params": state.params, "batch_stats": state.batch_stats}, examples, 24
    )
    return made.to_host(state), made.mean_metrics(batches), evaluation


def distance(one, two):
    return optax.tree.norm(jax.tree.map(np.subtract, one, two)) / optax.tree.norm(two)


@pytest.mark.parametrize(("devices", "in_one"), [(1, True), (2, False)])
def test_devices_and_composition_do_not_change_the_numbers(x64, devices, in_one):
    expected_state, *expected = two_steps(programs(1))
    state, *found = two_steps(programs(devices), in_one)
    assert distance(state.params, expected_state.params) < 1e-9
    assert distance(state.batch_stats, expected_state.batch_stats) < 1e-9
    for one, two in zip(found, expected, strict=True):
        assert one == pytest.approx(two, rel=1e-9)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match="3 devices"):
        programs(3).check_batch_size("config.batch_size", 64)
