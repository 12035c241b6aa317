"""The ascent by itself, against PyTorch's scheduler and its own algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from da_jax import disagreement
from da_jax.disagreement import DIVERGENCES, DisagreementAugmentation
from da_jax.errors import UserError


def linear_networks(dtype=jnp.float32):
    kernels = jax.random.normal(jax.random.key(0), (2, 12, 5), dtype)

    def student(images, batch_stats):
        return images.reshape(len(images), -1) @ kernels[0], batch_stats

    def teacher(images):
        return images.reshape(len(images), -1) @ kernels[1]

    return student, teacher


def images(dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (4, 2, 2, 3), dtype)


def test_learning_rate_equals_torch_s_scheduler_over_60_steps(x64):
    """Fed a disagreement that rises, stalls and wavers, as v² of logits [1 − v, v]."""
    learning_rate = 0.01778
    noise = np.random.default_rng(0).normal(size=60)
    values = 0.5 + 0.004 * np.minimum(np.arange(60), 15) + 0.003 * noise
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")

    @jax.jit
    def advance(ascent, value):
        return disagreement.ascent_step(
            DisagreementAugmentation(),
            ascent,
            lambda images, stats: (jnp.array([[1 - value, value]] * 4), stats),
            lambda images: jnp.array([[1.0, 0.0]] * 4),
            learning_rate,
        )

    ascent = disagreement.start(images(jnp.float64), {})
    rates = set()
    for value in values:
        rate = float(ascent.plateau.scale) * learning_rate
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        rates.add(rate)
        ascent = advance(ascent, value)
        scheduler.step(-(value**2))
    assert len(rates) >= 3  # it was cut, and again


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_ascent_raises_the_disagreement(divergence):
    student, teacher = linear_networks()
    augmentation = DisagreementAugmentation(steps=5, divergence=divergence)
    start = disagreement.start(images(), {})
    end = disagreement.augment(augmentation, start, student, teacher, 1e-3)

    def value(images):
        logits, _ = student(images, {})
        return float(augmentation.distance(logits, teacher(images)).mean())

    assert value(end.images) > value(start.images) > 0
    assert value(start.images) == pytest.approx(float(end.initial_disagreement))


@pytest.mark.parametrize(("steps", "learning_rate"), [(0, 0.1), (3, 0.0)])
def test_no_steps_or_no_rate_leave_the_images(steps, learning_rate):
    student, teacher = linear_networks()
    end = disagreement.augment(
        DisagreementAugmentation(steps=steps),
        disagreement.start(images(), {}),
        student,
        teacher,
        learning_rate,
    )
    np.testing.assert_array_equal(end.images, images())


def test_reference_batch_undoes_the_size_of_the_batch(x64):
    """A batch seen as one of another size moves as its copies in such a batch do."""
    student, teacher = linear_networks(jnp.float64)
    batch = images(jnp.float64)

    def move(batch, reference_batch):
        return disagreement.augment(
            DisagreementAugmentation(reference_batch=reference_batch),
            disagreement.start(batch, {}),
            lambda images, stats: (1e-6 + student(images, stats)[0], stats),
            teacher,
            0.1,
        ).images

    eightfold = move(jnp.concatenate([batch] * 8), 0)[: len(batch)]
    np.testing.assert_allclose(move(batch, 8 * len(batch)), eightfold, rtol=1e-9)


def test_unknown_divergence_lists_the_known_ones():
    with pytest.raises(UserError, match="mse, kl"):
        DisagreementAugmentation(divergence="cosine")
