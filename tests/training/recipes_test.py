"""Recipes on a small network: devices, seeds, averages, and what is compiled."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from da_jax.configs import digits

from da_jax.config.build import create_hyperparameters, create_task
from da_jax.data import Dataset, Examples
from da_jax.data.preprocessing import Preprocessing
from da_jax.models import MODELS, Network, Stages, forward
from da_jax.models.network import PRECISIONS
from da_jax.storage.run_checkpoints import (
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training import step as training_step
from da_jax.training.parallel import PmappedSteps
from da_jax.training.state import TrainState
from tests.reference import FLOAT64

STEPS_PER_EPOCH, BATCH_SIZE = 4, 8

RECIPES = {
    "adamw": {
        "optimizer.name": "adamw",
        "optimizer.schedule": "cosine",
        "optimizer.warmup_epochs": 0.5,
        "optimizer.clip_norm": 0.01,
        "optimizer.decay_bias_and_norm": False,
        "label_smoothing": 0.1,
        "ema_decay": 0.9,
    },
    "lamb": {
        "optimizer.name": "lamb",
        "optimizer.schedule": "linear",
        "optimizer.clip_norm": 0.01,
    },
    "dot": {
        "optimizer.name": "dot",
        "optimizer.schedule": "constant",
        "optimizer.warmup_epochs": 1.5,
        "optimizer.clip_norm": 0.01,
        "ema_decay": 0.5,
    },
    "lion": {"optimizer.name": "lion", "label_smoothing": 0.2},
}


CLASSES, SHAPE = 5, (8, 8, 3)


class Small(Network):
    def stages(self, images, train):
        stem = nn.relu(self.norm("bn")(self.conv(4, 3, 2, name="conv")(images), train))
        return Stages([stem], [stem], stem.mean((1, 2)))


@pytest.fixture(autouse=True)
def small_student(monkeypatch):
    monkeypatch.setitem(MODELS, "Small", Small)
    monkeypatch.setitem(PRECISIONS, "float64", FLOAT64)


def create_config(**fields):
    config = digits.get_config("kd")
    config.student = config.teacher.model = "Small"
    config.num_epochs, config.precision = 3, "float64"
    config.update_from_flattened_dict(fields)
    return config


def create_dataset():
    rng = np.random.default_rng(0)
    count = STEPS_PER_EPOCH * BATCH_SIZE
    images = rng.integers(0, 256, (count, *SHAPE), np.uint8)
    examples = Examples(images, rng.integers(0, CLASSES, count, np.int32))
    preprocessing = Preprocessing((0.5,) * 3, (0.25,) * 3, crop_padding=1)
    return Dataset(examples, lambda: examples, CLASSES, preprocessing)


class Training:
    """Students of a config, in float64, and steps that they take."""

    def __init__(self, config, devices=1, composition="unrolled"):
        dataset = create_dataset()
        self.task = dataclasses.replace(create_task(config, dataset), dtype=jnp.float64)
        self.steps = PmappedSteps(
            self.task,
            config.num_seeds,
            config.parallel,
            devices=jax.devices()[:devices],
            composition=composition,
        )
        self.hyperparameters = create_hyperparameters(config, STEPS_PER_EPOCH)
        self.states = self.steps.create_train_states(config.seed, self.hyperparameters)
        self._examples = self.steps.replicate(dataset.train)
        teacher = forward.initialize(
            self.task.teacher, jax.random.key(7), jnp.zeros((1, *SHAPE))
        )
        self._teacher = self.steps.replicate(teacher)
        self._count = config.num_seeds

    @property
    def students(self) -> list[TrainState]:
        return self.steps.students(self.states)

    def take(self, first, count):
        """Takes `count` steps of the first epoch, the first after `first` steps."""
        orders = self.steps.epoch_orders(
            self.states, STEPS_PER_EPOCH, STEPS_PER_EPOCH * BATCH_SIZE
        )
        self.states, _ = self.steps.train_steps(
            self.states,
            self._teacher,
            self._examples,
            orders,
            first * BATCH_SIZE,
            count,
            self.steps.replicate_students([self.hyperparameters] * self._count),
            BATCH_SIZE,
        )
        return self.students


def distance(one, two):
    """‖a − b‖ / ‖b‖ over a tree."""
    return optax.tree.norm(jax.tree.map(np.subtract, one, two)) / optax.tree.norm(two)


MODES = {
    "two devices": ({}, 2, "unrolled"),
    "two seeds": ({"num_seeds": 2}, 1, "unrolled"),
    "two seeds as a batch": ({"num_seeds": 2}, 1, "vmapped"),
    "a seed on each device": ({"num_seeds": 2, "parallel": "seeds"}, 2, "unrolled"),
}


@functools.cache
def alone(recipe):
    """Two students after an epoch, one after the other on one device."""
    training = Training(create_config(**RECIPES[recipe]))
    students = []
    for seed in (0, 1):
        training.states = training.steps.create_train_states(
            seed, training.hyperparameters
        )
        students += training.take(0, STEPS_PER_EPOCH)
    return students


PAIRS = [(recipe, mode) for recipe in RECIPES for mode in MODES]
FAST = [("adamw", "two seeds as a batch"), ("dot", "two seeds")]
FAST += [(recipe, "two devices") for recipe in RECIPES]


@pytest.mark.parametrize(
    ("recipe", "mode"),
    FAST + [pytest.param(*p, marks=pytest.mark.slow) for p in PAIRS if p not in FAST],
)
def test_seeds_and_devices_do_not_change_a_recipe_s_numbers(x64, recipe, mode):
    fields, devices, composition = MODES[mode]
    config = create_config(**RECIPES[recipe], **fields)
    found = Training(config, devices, composition).take(0, STEPS_PER_EPOCH)
    expected = alone(recipe)[: config.num_seeds]
    for student, reference in zip(found, expected, strict=True):
        for name in ("params", "batch_stats", "ema"):
            one, two = getattr(student, name), getattr(reference, name)
            assert two is None or distance(one, two) < 1e-9, name
    assert distance(*(student.params for student in alone(recipe))) > 0.1


def test_the_average_is_a_hand_loop_s_and_is_what_is_evaluated(x64):
    training = Training(create_config(ema_decay=0.8))
    (student,) = training.students
    average = student.variables
    for number in range(STEPS_PER_EPOCH):
        (student,) = training.take(number, 1)
        average = jax.tree.map(
            lambda old, new: 0.8 * old + 0.2 * new, average, student.variables
        )
        assert student.eval_variables is student.ema
        assert distance(student.ema, average) < 1e-12
    assert distance(student.variables, average) > 1e-3


def test_without_an_average_the_student_itself_is_evaluated(x64):
    (student,) = Training(create_config()).students
    assert student.ema is None and student.eval_variables == student.variables


def test_an_average_does_not_change_the_student(x64):
    (plain,) = Training(create_config()).take(0, STEPS_PER_EPOCH)
    (averaged,) = Training(create_config(ema_decay=0.9)).take(0, STEPS_PER_EPOCH)
    assert distance(averaged.params, plain.params) < 1e-12


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_checkpoint_resumes_a_recipe_exactly(x64, tmp_path, recipe):
    config = create_config(**RECIPES[recipe])
    whole = Training(config).take(0, 4)
    training = Training(config)
    halfway = training.take(0, 2)
    checkpoints = RunCheckpoints(tmp_path)
    trees, best = [to_tree(halfway[0])], [halfway[0].eval_variables]
    checkpoints.save(RunCheckpoint("Small", 5, trees, best, 0, []))
    checkpoints.close()
    checkpoints = RunCheckpoints(tmp_path)
    restored = checkpoints.restore()
    checkpoints.close()
    resumed = Training(config)
    state = from_tree(resumed.students[0], restored.students[0])
    resumed.states = resumed.steps.replicate_students([state])
    jax.tree.map(np.testing.assert_array_equal, resumed.take(2, 2), whole)


STORED = {
    *("step", "seed", "params", "batch_stats", "auxiliary", "opt_state"),
    *("ascent_scale", "metrics"),
}
"""The fields of a student in checkpoints of version 0.1.0."""


def test_the_default_recipe_is_stored_as_before(x64):
    (student,) = Training(create_config()).students
    tree = to_tree(student)
    assert tree.keys() == STORED
    momentum = {"0": {}, "1": {"0": {"trace": student.trainable}, "1": {}}}
    assert jax.tree.structure(tree["opt_state"]) == jax.tree.structure(momentum)
    (averaged,) = Training(create_config(ema_decay=0.9)).students
    assert to_tree(averaged).keys() == STORED | {"ema"}


VALUES = {
    "optimizer.learning_rate": (0.05, 0.01),
    "optimizer.momentum": (0.9, 0.8),
    "optimizer.weight_decay": (5e-4, 0.1),
    "optimizer.clip_norm": (0.01, 0.02),
    "optimizer.warmup_epochs": (0.25, 0.5),
    "label_smoothing": (0.1, 0.2),
    "ema_decay": (0.9, 0.99),
    "num_epochs": (3, 5),
}
"""Fields that are traced, and two values of each."""


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_other_values_of_a_recipe_compile_nothing(x64, monkeypatch, name):
    traces = []
    update_student = training_step.update_student

    def counted(*arguments):
        traces.append(arguments)
        return update_student(*arguments)

    monkeypatch.setattr(training_step, "update_student", counted)
    fixed = {"optimizer.name": name, "optimizer.schedule": "cosine"}
    first = {field: value for field, (value, _) in VALUES.items()}
    training = Training(create_config(**fixed, **first))
    (reference,) = training.take(0, 3)
    before = len(traces)
    assert before > 0
    for field, (_, value) in VALUES.items():
        other = Training(create_config(**fixed, **first | {field: value}))
        assert other.task == training.task, field
        training.hyperparameters = other.hyperparameters
        training.states = other.states
        (student,) = training.take(0, 3)
        assert distance(student.ema, reference.ema) > 1e-9, field
    assert len(traces) == before
