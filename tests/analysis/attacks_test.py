"""The attacks on linear, nonlinear and trained networks."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.analysis.pretrained import load_pretrained
from da_jax.analysis.robustness import measurements
from da_jax.analysis.robustness.attacks import ATTACKS, checkpoint_intervals
from da_jax.analysis.robustness.measurements import Comparison, NamedNetwork
from da_jax.analysis.robustness.settings import Settings
from da_jax.data import Examples, load_dataset

SHAPE = (4, 4, 3)
KERNEL = np.asarray(jax.random.normal(jax.random.key(0), (48, 5)))
BUDGETS = (1 / 255, 8 / 255, 1.0)


def logits(pixels):
    """Returns the logits of a nonlinear network."""
    hidden = jnp.tanh(3 * pixels.reshape(len(pixels), -1) @ KERNEL)
    return hidden @ KERNEL[:5]


def batch(size=8, low=0.0, high=1.0):
    """Returns images in which some pixels are 0 or 1, labels and keys."""
    noise = jax.random.uniform(jax.random.key(1), (size, *SHAPE), minval=-0.3) * 1.3
    images = low + (high - low) * jnp.clip(noise, 0, 1)
    labels = jnp.arange(size) % 5
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(2), i))(labels * 7)
    return images, labels, keys


def attacked(name, logits, images, labels, keys, budget, iterations=20):
    return jax.jit(ATTACKS[name], static_argnums=(0, 5))(
        logits, images, labels, budget, keys, iterations
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_of_a_linear_network_each_finds_the_best_attack(name):
    """With two classes the loss is largest at a corner of the box."""
    images, labels, keys = batch(low=0.2, high=0.8)
    labels = labels % 2
    kernel = np.stack([-KERNEL[:, 0], KERNEL[:, 0]], axis=1)
    budget = 8 / 255
    found = attacked(
        name,
        lambda pixels: pixels.reshape(len(pixels), -1) @ kernel,
        *(images, labels, keys, budget),
    )
    away = np.where(labels[:, None], -1, 1) * (kernel[:, 1] - kernel[:, 0])
    best = images + budget * np.sign(away).reshape(images.shape)
    np.testing.assert_allclose(found, best, atol=1e-6)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", ATTACKS)
def test_attacked_images_are_images_in_the_box(name, budget):
    images, labels, keys = batch()
    found = attacked(name, logits, images, labels, keys, budget)
    assert found.min() >= 0 and found.max() <= 1
    assert jnp.abs(found - images).max() == pytest.approx(budget, abs=1e-6)
    assert jnp.all((images > 0).any() & (images == 0).any() & (images == 1).any())


@pytest.mark.parametrize("name", ATTACKS)
def test_no_budget_leaves_the_images(name):
    images, labels, keys = batch()
    found = attacked(name, logits, images, labels, keys, 0.0)
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_example_is_attacked_the_same_in_any_batch(name):
    images, labels, keys = batch()
    whole = attacked(name, logits, images, labels, keys, 8 / 255)
    for half in (slice(0, 4), slice(4, 8)):
        part = attacked(name, logits, images[half], labels[half], keys[half], 8 / 255)
        np.testing.assert_allclose(part, whole[half], atol=1e-6)


def test_the_start_is_random_and_its_key_s():
    images, labels, keys = batch()
    again = attacked("PGD", logits, images, labels, keys, 8 / 255, 1)
    one = attacked("PGD", logits, images, labels, keys, 8 / 255, 1)
    other = attacked("PGD", logits, images, labels, keys[::-1], 8 / 255, 1)
    np.testing.assert_array_equal(one, again)
    assert jnp.abs(one - other).max() > 1 / 255


def test_apgd_keeps_the_best_image_of_its_way():
    """A longer search visits better images; the loss has many local maxima."""
    images, labels, keys = batch(32)

    def hilly(pixels):
        return jnp.sin(40 * logits(pixels))

    def outcome(iterations):
        found = attacked("APGD-CE", hilly, images, labels, keys, 0.1, iterations)
        outputs = hilly(found)
        loss = -jax.nn.log_softmax(outputs)[np.arange(32), labels]
        return outputs.argmax(axis=-1) != labels, loss

    (was_wrong, short), (is_wrong, long) = outcome(1), outcome(50)
    assert jnp.all(is_wrong >= was_wrong)
    assert jnp.all((long >= short - 1e-5) | (is_wrong & ~was_wrong))
    assert long.mean() > short.mean() + 0.1


def test_checkpoints_are_the_paper_s():
    """⌈p_j N⌉ with p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99."""
    intervals = np.array(checkpoint_intervals(100))
    assert (np.flatnonzero(intervals) + 1).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert intervals[intervals > 0].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    intervals = np.array(checkpoint_intervals(20))
    assert (np.flatnonzero(intervals) + 1).tolist() == [5, 9, 12, 14, 16, 18, 19, 20]
    assert checkpoint_intervals(1) == [1]


@pytest.mark.parametrize(
    ("num_images", "budgets"),
    [(100, (8, 16)), pytest.param(360, (1, 2, 4, 8, 16), marks=pytest.mark.slow)],
)
def test_apgd_is_no_weaker_than_pgd_and_a_larger_budget_no_safer(num_images, budgets):
    data = load_dataset("digits", Path("unused"))
    teacher = load_pretrained(Path("checkpoints/digits_resnet20"))
    network = NamedNetwork("teacher", teacher, data.preprocessing)
    examples = Examples(*(array[:num_images] for array in data.test))
    comparison = Comparison([], network, examples, Settings(budgets=budgets))
    accuracies = measurements.measure_attacks(comparison)["teacher"]
    (clean,) = measurements.measure_clean(comparison).values()
    assert clean == 100  # as it was trained to
    for name, values in accuracies.items():
        assert [clean, *values] == sorted([clean, *values], reverse=True), name
        assert 0 < values[-1] < clean - 20, name
    for pgd, apgd in zip(accuracies["PGD"], accuracies["APGD-CE"], strict=True):
        assert apgd <= pgd + 0.2
