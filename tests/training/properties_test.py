"""What must hold of the ascent and of a step whatever the numbers, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Examples
from da_jax.training import step
from da_jax.training.state import create_train_state, epoch_order
from tests import golden
from tests.parity import variables
from tests.training.step_test import PLAIN_KD, batch_of, learn, numbers, tiny_problem

BATCH_SIZE = 4
LABELS = np.arange(BATCH_SIZE)

pytestmark = pytest.mark.usefixtures("float64")

seeds = st.integers(0, 2**31 - 1)
rates = st.floats(1e-6, 1.0)
few_examples = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def float64():
    with jax.enable_x64(True):
        yield


@functools.cache
def networks():
    return variables("resnet8", 1, jnp.float64), variables("resnet8", 2, jnp.float64)


def random_images(seed, batch_size=BATCH_SIZE):
    return np.random.default_rng(seed).normal(size=(batch_size, 32, 32, 3))


@functools.cache
def compiled_ascent(augmentation):
    problem = tiny_problem(augmentation, jnp.float64)
    student, teacher = networks()

    state = create_train_state(problem, 0).replace(**student)

    def ascend(images, learning_rate, steps=1):
        drawn = batch_of(state, images, LABELS)
        hyperparameters = numbers(
            PLAIN_KD, ascent_learning_rate=learning_rate, ascent_steps=steps
        )
        return step.ascend(problem, state, teacher, drawn, hyperparameters).ascent

    return jax.jit(ascend)


def moved(images, learning_rate, steps=1):
    ascent = compiled_ascent(DisagreementAugmentation())
    return np.asarray(ascent(images, learning_rate, steps).images)


@few_examples
@given(seeds, rates)
def test_no_steps_leave_the_images_as_they_are(seed, rate):
    images = random_images(seed)
    np.testing.assert_array_equal(moved(images, rate, steps=0), images)


@few_examples
@given(seeds)
def test_a_rate_of_zero_leaves_the_images_as_they_are(seed):
    images = random_images(seed)
    np.testing.assert_array_equal(moved(images, 0.0, steps=2), images)


def adam_bound(steps, b1=0.9, b2=0.999):
    """The most that a value can move in `steps` of Adam's, in units of its rate.

    By Cauchy and Schwarz: step t goes |Σ wᵢgᵢ| / √(Σ uᵢgᵢ²) ≤ √(Σ wᵢ²/uᵢ).
    """
    total = 0.0
    for t in range(1, steps + 1):
        ages = np.arange(t)
        weights = (1 - b1) * b1**ages / (1 - b1**t)
        of_squares = (1 - b2) * b2**ages / (1 - b2**t)
        total += np.sqrt(np.sum(weights**2 / of_squares))
    return total


@few_examples
@given(seeds, rates, st.sampled_from([1, 2, 3]))
def test_a_pixel_moves_no_further_than_adam_can(seed, rate, steps):
    images = random_images(seed)
    farthest = np.abs(moved(images, rate, steps) - images).max()
    assert 0 < farthest <= rate * adam_bound(steps) * (1 + 1e-6)


def test_adam_s_bound_of_one_step_is_its_rate():
    assert adam_bound(1) == pytest.approx(1.0, abs=1e-15)


@few_examples
@given(seeds, st.floats(1e-7, 1e-5))
def test_a_small_step_does_not_lower_the_disagreement(seed, rate):
    ascent = compiled_ascent(DisagreementAugmentation())
    first = ascent(random_images(seed), rate)
    second = ascent(np.asarray(first.images), rate)
    assert second.initial_disagreement >= first.initial_disagreement


@few_examples
@given(seeds, st.permutations(range(BATCH_SIZE)))
def test_another_order_of_the_batch_moves_the_same_images(seed, order):
    images = random_images(seed)
    found = moved(images[order], 0.01778, steps=2)
    np.testing.assert_allclose(found, moved(images, 0.01778, 2)[order], atol=1e-6)


@functools.cache
def compiled_step(augmentation):
    return jax.jit(
        functools.partial(step.train_step, tiny_problem(augmentation, jnp.float64)),
        static_argnums=6,
    )


def after_a_step(augmentation, probability, seed):
    _, arrays = golden.load("training")
    examples = Examples(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    state = create_train_state(tiny_problem(augmentation, jnp.float64), seed)
    order = epoch_order(state, 1, len(arrays["labels"]))
    (state,), _ = compiled_step(augmentation)(
        *((state,), networks()[1], examples, (order,), jnp.int32(0)),
        *((numbers(PLAIN_KD, probability=probability),), BATCH_SIZE),
    )
    return state


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_tails_is_plain_distillation_bit_for_bit(seed):
    tails = after_a_step(DisagreementAugmentation(), 0.0, seed)
    without = after_a_step(None, 0.0, seed)
    shared = {name: tails.metrics[name] for name in without.metrics}
    tails = tails.replace(metrics=shared)
    jax.tree.map(np.testing.assert_array_equal, tails, without)


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_the_student_learns_from_moved_images_as_from_any_others(seed):
    """Its gradient is that of the loss on fixed images, not of how they came about."""
    problem = tiny_problem(DisagreementAugmentation(), jnp.float64)
    student, teacher = networks()
    images, hyperparameters = random_images(seed), numbers(PLAIN_KD)
    state = create_train_state(problem, 0).replace(**student)

    def learned(drawn):
        return learn(problem, state, teacher, drawn, hyperparameters)[0]

    @jax.jit
    def in_one_program(images):
        drawn = batch_of(state, images, LABELS)
        return learned(step.ascend(problem, state, teacher, drawn, hyperparameters))

    ascent = compiled_ascent(DisagreementAugmentation())(images, 0.01778)
    assert not np.array_equal(ascent.images, images)
    drawn = batch_of(state, images, LABELS)._replace(ascent=ascent)
    fixed = jax.jit(learned)(jax.device_get(drawn))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12),
        in_one_program(images).params,
        fixed.params,
    )


def test_no_gradient_reaches_the_teacher():
    """Neither as what the student learns from, nor through the moved images."""
    problem = tiny_problem(DisagreementAugmentation(), jnp.float64)
    student, teacher = networks()
    state = create_train_state(problem, 0).replace(**student)
    drawn = batch_of(state, random_images(0), LABELS)
    hyperparameters = numbers(PLAIN_KD)

    @jax.jit
    @jax.grad
    def gradient(teacher):
        moved = step.ascend(problem, state, teacher, drawn, hyperparameters)
        learned, _ = learn(problem, state, teacher, moved, hyperparameters)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(learned.params))

    for leaf in jax.tree.leaves(gradient(teacher)):
        np.testing.assert_array_equal(leaf, 0)
