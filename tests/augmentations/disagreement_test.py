"""The ascent by itself, against PyTorch's scheduler and its own algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from da_jax.augmentations import PGD, RandomDirection, disagreement
from da_jax.augmentations.disagreement import DIVERGENCES, DisagreementAugmentation
from da_jax.errors import UserError

LABELS = np.array([0, 2, 4, 1])


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
            LABELS,
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
    augmentation = DisagreementAugmentation(divergence=divergence)
    start = disagreement.start(images(), {})
    end = disagreement.augment(
        augmentation, start, student, teacher, LABELS, 1e-3, steps=5
    )

    def value(images):
        logits, _ = student(images, {})
        return float(augmentation.distance(logits, teacher(images)).mean())

    assert value(end.images) > value(start.images) > 0
    assert value(start.images) == pytest.approx(float(end.initial_disagreement))


@pytest.mark.parametrize(("steps", "learning_rate"), [(0, 0.1), (3, 0.0)])
def test_no_steps_or_no_rate_leave_the_images(steps, learning_rate):
    student, teacher = linear_networks()
    end = disagreement.augment(
        DisagreementAugmentation(),
        disagreement.start(images(), {}),
        student,
        teacher,
        LABELS,
        learning_rate,
        steps=steps,
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
            jnp.resize(LABELS, len(batch)),
            0.1,
        ).images

    eightfold = move(jnp.concatenate([batch] * 8), 0)[: len(batch)]
    np.testing.assert_allclose(move(batch, 8 * len(batch)), eightfold, rtol=1e-9)


def test_unknown_divergence_lists_the_known_ones():
    with pytest.raises(UserError, match="mse, kl"):
        DisagreementAugmentation(divergence="cosine")


def moved(augmentation, batch, learning_rate=0.01, **options):
    student, teacher = linear_networks(batch.dtype)
    start = disagreement.start(batch, {})
    return disagreement.augment(
        augmentation, start, student, teacher, LABELS, learning_rate, **options
    )


def test_pgd_raises_the_cross_entropy_inside_its_box(x64):
    student, _ = linear_networks(jnp.float64)
    batch = images(jnp.float64)

    def loss(images):
        log_p = jax.nn.log_softmax(student(images, {})[0])
        return -log_p[np.arange(4), LABELS]

    end = moved(PGD(), batch, 0.01, steps=10, radius=0.025)
    assert jnp.all(loss(end.images) > loss(batch))
    farthest = jnp.abs(end.images - batch).max()
    assert farthest == pytest.approx(0.025, rel=1e-9)
    one = moved(PGD(), batch, 0.01)
    np.testing.assert_allclose(jnp.abs(one.images - batch), 0.01, rtol=1e-9)


def test_noise_goes_as_far_as_the_ascent_in_another_direction(x64):
    batch = images(jnp.float64)
    noise = jax.random.uniform(jax.random.key(2), batch.shape, jnp.float64, -1, 1)
    ascended = moved(DisagreementAugmentation(), batch, steps=3)
    random = moved(RandomDirection(), batch, steps=3, noise=lambda: noise)

    def flat(end):
        return (end.images - batch).reshape(4, -1)

    norms = jnp.linalg.norm(flat(ascended), axis=1)
    np.testing.assert_allclose(jnp.linalg.norm(flat(random), axis=1), norms, rtol=1e-9)
    cosine = jnp.sum(flat(random) * flat(ascended), axis=1) / norms**2
    assert jnp.all(jnp.abs(cosine) < 0.9)
    np.testing.assert_allclose(
        jnp.sum(flat(random) * noise.reshape(4, -1), axis=1),
        norms * jnp.linalg.norm(noise.reshape(4, -1), axis=1),
        rtol=1e-9,
    )
    still = moved(RandomDirection(), batch, 0.0, steps=3, noise=lambda: noise)
    np.testing.assert_array_equal(still.images, batch)
