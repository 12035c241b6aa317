"""The augmentations by themselves, against PyTorch's scheduler and algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.ascent.disagreement import DIVERGENCES
from da_jax.augmentations import PGD, Augmentation, Context, RandomDirection
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data.batch import Batch
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


def augmented(augmentation, images, student, teacher, learning_rate, **scalars):
    """The batch after its augmentation, whose coin is heads unless `scalars` differ."""
    context = Context(
        student=student,
        teacher=teacher,
        batch_stats={},
        hyperparameters={
            "probability": 1.0,
            "learning_rate": learning_rate,
            "steps": 1,
            "target": 0.0,
            "radius": jnp.inf,
            **scalars,
        },
        scale=jnp.ones((), images.dtype),
        coin_key=jax.random.key(3),
        noise_key=jax.random.key(2),
        axis_name=None,
    )
    labels = jnp.resize(LABELS, len(images))
    return augmentation(Batch(images, labels, jnp.arange(len(images))), context)


def test_learning_rate_equals_torch_s_scheduler_over_60_steps(x64):
    """Given a disagreement that rises, stalls and wavers, as v² of logits [1 − v, v].

    Adam's update of a constant gradient is its learning rate, so the images show it.
    """
    torch = pytest.importorskip("torch")
    learning_rate = 0.01778
    noise = np.random.default_rng(0).normal(size=60)
    values = 0.5 + 0.004 * np.minimum(np.arange(60), 15) + 0.003 * noise
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, "min")
    optimizer = DisagreementAugmentation().optimizer(learning_rate, batch_size=4)
    x = jnp.zeros(())
    state = optimizer.init(x)
    rates = set()
    for value in values:
        update, state = jax.jit(optimizer.update)(
            jnp.full((), -1e9), state, x, value=-(value**2)
        )
        rate = adam.param_groups[0]["lr"]
        assert float(update) == pytest.approx(rate, rel=1e-12)
        rates.add(rate)
        scheduler.step(-(value**2))
    assert len(rates) >= 3  # it was cut, and again


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_ascent_raises_the_disagreement(divergence):
    student, teacher = linear_networks()
    augmentation = DisagreementAugmentation(divergence=divergence)
    end = augmented(augmentation, images(), student, teacher, 1e-3, steps=5)

    def value(images):
        logits, _ = student(images, {})
        return float(augmentation.disagreement(logits, teacher(images)).mean())

    assert value(end.batch.images) > value(images()) > 0
    before = float(end.measurements["disagreement_before"])
    assert value(images()) == pytest.approx(before)


@pytest.mark.parametrize(("steps", "learning_rate"), [(0, 0.1), (3, 0.0)])
def test_no_steps_or_no_rate_leave_the_images(steps, learning_rate):
    end = augmented(
        DisagreementAugmentation(),
        images(),
        *linear_networks(),
        learning_rate,
        steps=steps,
    )
    np.testing.assert_array_equal(end.batch.images, images())


def test_the_base_class_is_the_identity():
    batch, end = images(), augmented(Augmentation(), images(), None, None, 1.0)
    np.testing.assert_array_equal(end.batch.images, batch)
    np.testing.assert_array_equal(end.batch.labels, LABELS)
    assert end.batch_stats == {} and end.measurements == {}
    assert Augmentation().metrics({}, batch, None) == {}
    assert Augmentation().adapt(2.0, {}, {}) == 2.0


def test_reference_batch_undoes_the_size_of_the_batch(x64):
    """A batch seen as one of another size moves as its copies in such a batch do."""
    student, teacher = linear_networks(jnp.float64)
    batch = images(jnp.float64)

    def move(batch, reference_batch):
        return augmented(
            DisagreementAugmentation(reference_batch=reference_batch),
            batch,
            lambda images, stats: (1e-6 + student(images, stats)[0], stats),
            teacher,
            0.1,
        ).batch.images

    eightfold = move(jnp.concatenate([batch] * 8), 0)[: len(batch)]
    np.testing.assert_allclose(move(batch, 8 * len(batch)), eightfold, rtol=1e-9)


def test_unknown_divergence_lists_the_known_ones():
    with pytest.raises(UserError, match="mse, kl"):
        DisagreementAugmentation(divergence="cosine")


def moved(augmentation, batch, learning_rate=0.01, **scalars):
    networks = linear_networks(batch.dtype)
    end = augmented(augmentation, batch, *networks, learning_rate, **scalars)
    return end.batch.images


def test_pgd_raises_the_cross_entropy_inside_its_box(x64):
    student, _ = linear_networks(jnp.float64)
    batch = images(jnp.float64)

    def loss(images):
        log_p = jax.nn.log_softmax(student(images, {})[0])
        return -log_p[np.arange(4), LABELS]

    end = moved(PGD(), batch, 0.01, steps=10, radius=0.025)
    assert jnp.all(loss(end) > loss(batch))
    farthest = jnp.abs(end - batch).max()
    assert farthest == pytest.approx(0.025, rel=1e-9)
    one = moved(PGD(), batch, 0.01)
    np.testing.assert_allclose(jnp.abs(one - batch), 0.01, rtol=1e-9)


def test_noise_goes_as_far_as_the_ascent_in_another_direction(x64):
    batch = images(jnp.float64)
    # Without a step of ascent the random start is the noise itself.
    noise = moved(DisagreementAugmentation(random_init=True), batch, steps=0)
    assert jnp.all(jnp.abs(noise) <= 1) and jnp.std(noise) > 0.4
    ascended = moved(DisagreementAugmentation(), batch, steps=3)
    random = moved(RandomDirection(), batch, steps=3)

    def flat(end):
        return (end - batch).reshape(4, -1)

    norms = jnp.linalg.norm(flat(ascended), axis=1)
    np.testing.assert_allclose(jnp.linalg.norm(flat(random), axis=1), norms, rtol=1e-9)
    cosine = jnp.sum(flat(random) * flat(ascended), axis=1) / norms**2
    assert jnp.all(jnp.abs(cosine) < 0.9)
    np.testing.assert_allclose(
        jnp.sum(flat(random) * noise.reshape(4, -1), axis=1),
        norms * jnp.linalg.norm(noise.reshape(4, -1), axis=1),
        rtol=1e-9,
    )
    still = moved(RandomDirection(), batch, 0.0, steps=3)
    np.testing.assert_array_equal(still, batch)
