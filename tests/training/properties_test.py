"""Properties of the ascent and of a step for random inputs, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_jax.augmentations import Augmentation
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Examples
from da_jax.training import step
from da_jax.training.sampling import epoch_order
from da_jax.training.state import create_train_state
from tests import golden
from tests.parity import variables
from tests.training.step_test import PLAIN_KD, given_batch, scalars, tiny_task, update

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
    task = tiny_task(augmentation, jnp.float64)
    student, teacher = networks()
    state = create_train_state(task, 0).replace(**student)

    def augment(images, learning_rate, steps=1):
        hyperparameters = scalars(
            PLAIN_KD, ascent_learning_rate=learning_rate, ascent_steps=steps
        )
        batch = given_batch(images, LABELS)
        return step.augment(task, teacher, state, batch, hyperparameters)

    return jax.jit(augment)


def moved(images, learning_rate, steps=1):
    ascent = compiled_ascent(DisagreementAugmentation())
    return np.asarray(ascent(images, learning_rate, steps).batch.images)


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
    second = ascent(np.asarray(first.batch.images), rate)
    before = [each.measurements["disagreement_before"] for each in (first, second)]
    assert before[1] >= before[0] > 0


@few_examples
@given(seeds, st.permutations(range(BATCH_SIZE)))
def test_another_order_of_the_batch_moves_the_same_images(seed, order):
    images = random_images(seed)
    found = moved(images[order], 0.01778, steps=2)
    np.testing.assert_allclose(found, moved(images, 0.01778, 2)[order], atol=1e-6)


@functools.cache
def compiled_step(augmentation):
    return jax.jit(
        functools.partial(step.train_step, tiny_task(augmentation, jnp.float64)),
        static_argnums=6,
    )


def after_a_step(augmentation, probability, seed):
    _, arrays = golden.load("training")
    examples = Examples(jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"]))
    state = create_train_state(tiny_task(augmentation, jnp.float64), seed)
    order = epoch_order(state, 1, len(arrays["labels"]))
    (state,), _ = compiled_step(augmentation)(
        *((state,), networks()[1], examples, (order,), jnp.int32(0)),
        *((scalars(PLAIN_KD, probability=probability),), BATCH_SIZE),
    )
    return state


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_tails_is_plain_distillation_bit_for_bit(seed):
    tails = after_a_step(DisagreementAugmentation(), 0.0, seed)
    without = after_a_step(Augmentation(), 0.0, seed)
    shared = {name: tails.metrics[name] for name in without.metrics}
    tails = tails.replace(metrics=shared)
    jax.tree.map(np.testing.assert_array_equal, tails, without)


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_the_student_learns_from_moved_images_as_from_any_others(seed):
    """Its gradient is that of the loss on fixed images, not of how they came about."""
    task = tiny_task(DisagreementAugmentation(), jnp.float64)
    student, teacher = networks()
    images, hyperparameters = random_images(seed), scalars(PLAIN_KD)
    state = create_train_state(task, 0).replace(**student)

    def updated(augmented):
        return update(task, teacher, state, augmented, hyperparameters)[0]

    @jax.jit
    def in_one_program(images):
        batch = given_batch(images, LABELS)
        return updated(step.augment(task, teacher, state, batch, hyperparameters))

    augmented = compiled_ascent(DisagreementAugmentation())(images, 0.01778)
    assert not np.array_equal(augmented.batch.images, images)
    fixed = jax.jit(updated)(jax.device_get(augmented))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12),
        in_one_program(images).params,
        fixed.params,
    )


def test_no_gradient_reaches_the_teacher():
    """Neither through its outputs in the loss, nor through the augmented images."""
    task = tiny_task(DisagreementAugmentation(), jnp.float64)
    student, teacher = networks()
    state = create_train_state(task, 0).replace(**student)
    batch = given_batch(random_images(0), LABELS)
    hyperparameters = scalars(PLAIN_KD)

    @jax.jit
    @jax.grad
    def gradient(teacher):
        augmented = step.augment(task, teacher, state, batch, hyperparameters)
        after, _ = update(task, teacher, state, augmented, hyperparameters)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(after.params))

    for leaf in jax.tree.leaves(gradient(teacher)):
        np.testing.assert_array_equal(leaf, 0)
