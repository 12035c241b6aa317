"""The gallery's ascent, compared with PyTorch, training and direct forward passes."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from da_jax.configs import digits as config_file

from da_jax.analysis import gallery
from da_jax.analysis.gallery import BoundNetwork
from da_jax.analysis.pretrained import Pretrained
from da_jax.analysis.training_gallery import TrainingGallery
from da_jax.ascent.disagreement import normalized_mse
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.augmentations.interface import Context
from da_jax.config.build import build_run, create_ascent
from da_jax.data import Examples, digits
from da_jax.data.batch import Batch
from da_jax.data.preprocessing import Preprocessing
from da_jax.models import create_model
from da_jax.storage.model_folders import load_model

TEACHER = Path("checkpoints/digits_resnet20")
STEPS = (0, 1, 3)
RATE = 0.02


class Linear(nn.Module):
    """A linear network, easy to write in PyTorch."""

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
    """Records the original's `forward_eval` with PyTorch's Adam and scheduler."""
    torch = pytest.importorskip("torch")
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


def augmented(student, teacher, images, steps):
    """Moves a batch as training does, with both networks in eval mode."""
    zeros, key = jnp.zeros(len(images), jnp.int32), jax.random.key(0)
    hyperparameters = {"probability": 1.0, "learning_rate": RATE, "steps": steps}
    context = Context(
        student=lambda images, stats: (student(images).logits, stats),
        teacher=lambda images: teacher(images).logits,
        batch_stats={},
        hyperparameters=hyperparameters,
        scale=jnp.ones(()),
        coin_key=key,
        noise_key=key,
        axis_name=None,
    )
    return DisagreementAugmentation()(Batch(images, zeros, zeros), context).batch.images


def settings(**others):
    return {"steps": STEPS, "learning_rate": RATE, **others}


def test_wanted_images_move_with_their_batches():
    """The ascent equals training's; the last of 70 images are a batch of 6."""
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
                    student,
                    teacher,
                    preprocessing.normalize(batch, jnp.float32),
                    steps,
                )
                for batch in (images[:64], images[64:])
            ]
        )[indices]
        np.testing.assert_allclose(shown.images[at], moved, rtol=1e-5, atol=1e-6)
        logits = [network(jnp.asarray(moved))[0] for network in (student, teacher)]
        np.testing.assert_allclose(
            shown.disagreement[at], normalized_mse(*logits), rtol=1e-4
        )
    distances = shown.pixel_changes.max(axis=(2, 3, 4))
    assert not distances[0].any() and np.all(distances[1:] > 0.5 * RATE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits and all devices, before its first step, and its gallery."""
    config = config_file.get_config()
    config.batch_size, config.eval_batch_size, config.gallery_every = 360, 360, 1
    dataset, teacher = digits.load(), load_model(TEACHER).variables
    run = build_run(config, tmp_path_factory.mktemp("run"), dataset, teacher)
    return run, TrainingGallery(
        run.task.student,
        BoundNetwork(run.task.teacher, teacher),
        ("resnet8", "resnet20"),
        dataset,
        dataset.test,
        *create_ascent(config),
    )


def test_on_several_devices_a_run_shows_its_first_student(run):
    run, training_gallery = run
    steps = run.steps
    assert steps.num_devices == jax.device_count() > 1
    student, *_ = steps.students(steps.create_train_states(0, run.hyperparameters))
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
    assert shown.pixel_changes[1].max() <= 1.0001 * training_gallery.learning_rate
    assert shown.is_finite
    summaries = training_gallery(student.variables)
    assert summaries.images["gallery"].shape[0] == 1  # page
    assert len(summaries.scalars) == 4 and len(summaries.histograms) == 3


def test_images_by_chance_are_of_one_batch_if_they_can_be():
    chosen = gallery.sample_images(64, 360, seed=0)
    assert chosen == gallery.sample_images(64, 360, seed=0)
    assert chosen != gallery.sample_images(64, 360, seed=1)
    for count in (4, 64, 65, 360):
        chosen = gallery.sample_images(count, 360, seed=3)
        assert len(set(chosen)) == count and 0 <= min(chosen) <= max(chosen) < 360
        batches = {index // gallery.BATCH_SIZE for index in chosen}
        assert len(batches) <= -(-count // gallery.BATCH_SIZE) + 1


def test_guesses_are_the_softmax_s_largest():
    logits = np.array([1.0, 1003.0, -2.0, 1002.0])
    likeliest = gallery.top_classes(logits, 2)
    assert [each.label for each in likeliest] == [1, 3]
    expected = 1 / (1 + np.exp(-1))
    assert likeliest[0].probability == pytest.approx(expected)
    assert likeliest[1].probability == pytest.approx(1 - expected)
