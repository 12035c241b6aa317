"""The gallery's ascent, against PyTorch, the ascent of training and forward passes."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from configs import digits as config_file
from da_jax.analysis import gallery
from da_jax.analysis.pretrained import Pretrained
from da_jax.analysis.training_gallery import TrainingGallery
from da_jax.ascent.disagreement import normalized_mse
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.config.build import build_run, create_ascent
from da_jax.data import Examples, digits
from da_jax.data.preprocessing import Preprocessing
from da_jax.models import create_model
from da_jax.storage.model_folders import load_model
from tests.augmentations.disagreement_test import augmented

TEACHER = Path("checkpoints/digits_resnet20")
STEPS = (0, 1, 3)
RATE = 0.02


class Linear(nn.Module):
    """A network whose ascent NumPy's and PyTorch's float64 follow easily."""

    @nn.compact
    def __call__(self, images, train=False):
        assert not train
        kernel = self.param("kernel", nn.initializers.normal(), (12, 5))
        return images.reshape(len(images), -1) @ kernel, {}


def linear(seed, dtype=np.float64):
    kernel = np.random.default_rng(seed).normal(size=(12, 5)).astype(dtype)
    return Pretrained(
        Path("linear"), "linear", 5, Linear(), {"params": {"kernel": kernel}}
    )


def reference_ascent(student, teacher, images, steps, learning_rate):
    """What the original's `forward_eval` records, on PyTorch's Adam and scheduler."""
    moving = torch.tensor(images, requires_grad=True)
    optimizer = torch.optim.Adam([moving], learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")
    recorded, rates = [], set()
    for step in range(steps[-1] + 1):
        logits = [
            moving.reshape(len(images), -1) @ torch.tensor(kernel)
            for kernel in (student, teacher)
        ]
        normalized = [torch.nn.functional.normalize(each, p=1.0) for each in logits]
        squares = (normalized[0] - normalized[1]) ** 2
        if step in steps:
            recorded.append((moving.detach().clone(), squares.detach().mean(dim=1)))
        rates.add(optimizer.param_groups[0]["lr"])
        (moving.grad,) = torch.autograd.grad(-squares.mean(), moving)
        optimizer.step()
        scheduler.step(-squares.mean().detach())
    return recorded, rates


def test_the_ascent_is_the_original_s(x64):
    images = np.random.default_rng(2).normal(size=(4, 2, 2, 3))
    student, teacher = linear(0), linear(1)
    kernels = [each.variables["params"]["kernel"] for each in (student, teacher)]
    steps = (0, 1, 5, 100)
    expected, rates = reference_ascent(*kernels, images, steps, 0.5)
    assert len(rates) > 1  # the scheduler had something to do
    found = gallery.ascend(
        student,
        teacher,
        jnp.asarray(images),
        steps=steps,
        learning_rate=0.5,
        augmentation=DisagreementAugmentation(),
    )
    for at, (moved, squares) in enumerate(expected):
        np.testing.assert_allclose(found.images[at], moved, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.disagreement[at], squares, rtol=1e-6)


def settings(**others):
    return {"steps": STEPS, "learning_rate": RATE, **others}


def test_wanted_images_move_with_their_batches():
    """As in training's ascent of so many steps; of 70 images 6 are the last batch."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (70, 2, 2, 3), np.uint8)
    labels = rng.integers(0, 5, 70)
    preprocessing = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
    student, teacher = linear(0, np.float32), linear(1, np.float32)
    indices = [66, 3, 69, 40]
    shown = gallery.create_gallery(
        *(student, teacher, Examples(images, labels), preprocessing, indices),
        **settings(),
    )
    np.testing.assert_array_equal(shown.labels, labels[indices])
    for at, steps in enumerate(STEPS):
        moved = np.concatenate(
            [
                augmented(
                    DisagreementAugmentation(),
                    preprocessing.normalize(batch, jnp.float32),
                    lambda images, stats: (student(images)[0], stats),
                    lambda images: teacher(images)[0],
                    RATE,
                    steps=steps,
                ).batch.images
                for batch in (images[:64], images[64:])
            ]
        )[indices]
        np.testing.assert_allclose(shown.images[at], moved, rtol=1e-5, atol=1e-6)
        logits = [network(jnp.asarray(moved))[0] for network in (student, teacher)]
        np.testing.assert_allclose(
            shown.disagreement[at], normalized_mse(*logits), rtol=1e-4
        )
    distances = shown.distances.max(axis=(2, 3, 4))
    assert not distances[0].any() and np.all(distances[1:] > 0.5 * RATE)


@pytest.fixture(scope="module")
def training_gallery(tmp_path_factory):
    """Of a run of digits on all devices, before its first step."""
    config = config_file.get_config()
    config.batch_size, config.eval_batch_size, config.gallery_every = 360, 360, 1
    dataset, teacher = digits.load(), load_model(TEACHER).variables
    run = build_run(config, tmp_path_factory.mktemp("run"), dataset, teacher)
    return TrainingGallery(run, dataset.test, *create_ascent(config))


def test_on_several_devices_a_run_shows_its_first_student(training_gallery):
    run = training_gallery.run
    assert run.steps.num_devices == jax.device_count() > 1
    states = run.steps.create_train_states(0, run.hyperparameters)
    student, *_ = run.steps.students(states)
    shown = training_gallery.ascend(student.variables)
    dataset = digits.load()
    images = dataset.preprocessing.normalize(
        dataset.test.images[shown.indices], jnp.float32
    )
    np.testing.assert_array_equal(shown.images[0], images)
    logits = [
        create_model(name, 10).apply(variables, images, train=False)[0]
        for name, variables in (
            ("resnet8", student.variables),
            ("resnet20", load_model(TEACHER).variables),
        )
    ]
    expected = normalized_mse(*logits)
    np.testing.assert_allclose(shown.disagreement[0], expected, rtol=1e-4)
    assert np.all(np.diff(shown.disagreement.mean(axis=1)) > 0)
    assert shown.distances[1].max() <= 1.0001 * training_gallery.learning_rate
    assert shown.is_finite
    assert training_gallery.draw(shown).shape[0] == 1  # page


def test_images_by_chance_are_of_one_batch_if_they_can_be():
    chosen = gallery.choose_images(64, 360, seed=0)
    assert chosen == gallery.choose_images(64, 360, seed=0)
    assert chosen != gallery.choose_images(64, 360, seed=1)
    for count in (4, 64, 65, 360):
        chosen = gallery.choose_images(count, 360, seed=3)
        assert len(set(chosen)) == count and 0 <= min(chosen) <= max(chosen) < 360
        batches = {index // gallery.BATCH_SIZE for index in chosen}
        assert len(batches) <= -(-count // gallery.BATCH_SIZE) + 1


def test_guesses_are_the_softmax_s_largest():
    logits = np.array([1.0, 1003.0, -2.0, 1002.0])
    guesses = gallery.top_guesses(logits, 2)
    assert [guess.label for guess in guesses] == [1, 3]
    expected = 1 / (1 + np.exp(-1))
    assert guesses[0].probability == pytest.approx(expected)
    assert guesses[1].probability == pytest.approx(1 - expected)
