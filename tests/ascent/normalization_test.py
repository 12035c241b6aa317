"""Gradients normalised for each example, and what steps then don't depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax import ascend, disagreement_augment
from da_jax.ascent.disagreement import ascent_optimizer, normalized_mse
from da_jax.ascent.normalization import RELATIVE_EPSILON, normalize_by_example
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.errors import UserError

ALPHA = 0.01778


def problem(size=16):
    """A batch, and two linear networks on it."""
    x = jax.random.normal(jax.random.key(0), (size, 4, 4, 3))
    weights = jax.random.normal(jax.random.key(1), (2, 48, 10))
    student, teacher = (lambda x, w=w: x.reshape(len(x), -1) @ w for w in weights)
    return x, student, teacher


def moved(size=16, factor=1.0, steps=1, normalize="example"):
    """The first images of the batch after an ascent of `factor` × the disagreement."""
    x, student, teacher = problem(64)
    x = x[:size]

    def objective(x, state):
        return factor * normalized_mse(student(x), teacher(x)), state

    optimizer = ascent_optimizer(
        ALPHA,
        reduce_on_plateau=False,
        batch_size=len(x),
        reference_batch=None,
        normalize=normalize,
    )
    return ascend(x, objective, optimizer=optimizer, steps=steps).x[:8]


@pytest.mark.parametrize("factor", [1e-20, 1e-6, 3.0, 1e12])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_constant_factor_of_the_objective_changes_nothing(factor, steps):
    np.testing.assert_allclose(
        moved(factor=factor, steps=steps), moved(steps=steps), atol=1e-6
    )


def test_an_example_moves_the_same_in_every_batch():
    np.testing.assert_allclose(moved(64), moved(8), atol=1e-6)
    # With the original's ε, the larger batch moves less.
    distances = [
        jnp.mean(jnp.abs(moved(size, 1e-4, normalize=None) - problem(64)[0][:8]))
        for size in (8, 64)
    ]
    assert distances[0] > 1.2 * distances[1] > 0


def test_the_gradient_is_divided_by_each_example_s_root_mean_square():
    gradient = {
        "images": jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-25, 0.0]]),
        "scales": jnp.array([5.0, 0.0, 0.0]),
    }
    transformation = normalize_by_example()
    divided, _ = transformation.update(gradient, transformation.init(gradient))
    rows = np.concatenate([divided["images"], divided["scales"][:, None]], axis=1)
    np.testing.assert_allclose(np.mean(rows**2, axis=1), [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(rows[0], np.array([3, 4, 5]) / np.sqrt(50 / 3))


def test_adam_s_epsilon_is_relative():
    x, student, teacher = problem()
    moved = disagreement_augment(
        x, student, teacher, learning_rate=ALPHA, normalize="example"
    ).x

    def mean_disagreement(x):
        logits = [network(x) for network in (student, teacher)]
        normed = [of / jnp.abs(of).sum(-1, keepdims=True) for of in logits]
        return jnp.mean((normed[0] - normed[1]) ** 2)

    gradient = np.asarray(jax.grad(mean_disagreement)(x), np.float64)
    unit = gradient / np.sqrt((gradient**2).mean((1, 2, 3), keepdims=True))
    step = ALPHA * unit / (np.abs(unit) + RELATIVE_EPSILON)
    np.testing.assert_allclose(moved - x, step, atol=1e-5)


def test_it_excludes_reference_batch():
    x, student, teacher = problem()
    with pytest.raises(ValueError, match="reference_batch scales the gradient that"):
        disagreement_augment(
            x, student, teacher, normalize="example", reference_batch=64
        )
    with pytest.raises(ValueError, match="unknown normalize 'batch'; known: example"):
        disagreement_augment(x, student, teacher, normalize="batch")
    with pytest.raises(UserError, match="use one of them"):
        DisagreementAugmentation(normalize="example", reference_batch=64)
