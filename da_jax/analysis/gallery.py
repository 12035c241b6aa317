"""The gallery: test images and two networks' logits after some ascent steps.

The ascent is that of training (`da_jax.augmentations.disagreement`), on test images, in
the batches that the original tests in, and with both networks in eval mode: only the
images move.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (forward_eval).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from da_jax.analysis.pretrained import Pretrained
from da_jax.analysis.recording import Recording, record_ascent
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.data import Examples
from da_jax.data.preprocessing import Preprocessing
from da_jax.models.forward import Variables, eval_mode

BATCH_SIZE = 64
"""Test images that move together: the batch is part of the algorithm."""


class BoundNetwork(NamedTuple):
    """A module and its variables."""

    network: nn.Module
    variables: Variables


@dataclasses.dataclass(frozen=True)
class Gallery:
    """N test images after S numbers of ascent steps, the first of them 0.

    Attributes:
      indices: int `[N]`, in the test set.
      labels: int `[N]`.
      steps: the S numbers of steps.
      learning_rate: α, in units of normalised pixels.
      images: `[S, N, H, W, C]`, normalised, not clipped.
      student_logits: `[S, N, K]`.
      teacher_logits: `[S, N, K]`.
      disagreement: `[S, N]`.
    """

    indices: np.ndarray
    labels: np.ndarray
    steps: tuple[int, ...]
    learning_rate: float
    images: np.ndarray
    student_logits: np.ndarray
    teacher_logits: np.ndarray
    disagreement: np.ndarray

    @property
    def pixel_changes(self) -> np.ndarray:
        """The absolute change of each normalised pixel, `[S, N, H, W, C]`."""
        return np.abs(self.images - self.images[0])

    @property
    def is_finite(self) -> bool:
        """Whether both networks' logits are finite."""
        logits = self.student_logits, self.teacher_logits
        return all(bool(np.isfinite(each).all()) for each in logits)


def create_gallery(
    student: BoundNetwork | Pretrained,
    teacher: BoundNetwork | Pretrained,
    examples: Examples,
    preprocessing: Preprocessing,
    indices: Sequence[int],
    *,
    steps: Sequence[int],
    learning_rate: float,
    augmentation: DisagreementAugmentation | None = None,
) -> Gallery:
    """Ascends the batches with the chosen images, and keeps these images.

    Args:
      student: in eval mode, unlike in training.
      teacher: in eval mode.
      examples: the test set, split into batches of `BATCH_SIZE` in its order.
      preprocessing: that of the data set.
      indices: of the chosen images, at least one.
      steps: the recorded numbers of steps, increasing from 0.
      learning_rate: α, in units of normalised pixels.
      augmentation: the ascent, the paper's by default.
    """
    assert steps[0] == 0 and list(steps) == sorted(set(steps)), "not from 0 upwards"
    chosen = np.asarray(indices)
    recordings: dict[int, Recording] = {}
    for start in sorted({int(index) for index in chosen // BATCH_SIZE * BATCH_SIZE}):
        batch = slice(start, start + BATCH_SIZE)
        recordings[start] = ascend(
            student,
            teacher,
            preprocessing.normalize(jnp.asarray(examples.images[batch]), jnp.float32),
            steps=steps,
            learning_rate=learning_rate,
            augmentation=augmentation,
        )
    images = [
        jax.tree.map(lambda leaf, at=at: leaf[:, at], recordings[index - at])
        for index, at in zip(chosen, chosen % BATCH_SIZE, strict=True)
    ]
    stacked: Recording = jax.tree.map(lambda *each: np.stack(each, axis=1), *images)
    return Gallery(
        indices=chosen,
        labels=np.asarray(examples.labels)[chosen],
        steps=tuple(steps),
        learning_rate=learning_rate,
        **stacked._asdict(),
    )


def ascend(
    student: BoundNetwork | Pretrained,
    teacher: BoundNetwork | Pretrained,
    images: jax.Array,
    *,
    steps: Sequence[int],
    learning_rate: float,
    augmentation: DisagreementAugmentation | None,
) -> Recording:
    """Records a batch after each of `steps`, on the host.

    Arguments are those of `create_gallery`; images `[B, H, W, C]` are normalised.
    """
    recording = _record(
        (student.network, teacher.network),
        augmentation,
        steps[-1],
        (student.variables, teacher.variables),
        images,
        learning_rate,
    )
    taken: Recording = jax.tree.map(
        lambda leaf: np.asarray(leaf)[list(steps)], recording
    )
    return taken


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _record(
    networks: tuple[nn.Module, nn.Module],
    augmentation: DisagreementAugmentation | None,
    steps: int,
    variables: tuple[Variables, Variables],
    images: jax.Array,
    learning_rate: jax.typing.ArrayLike,
) -> Recording:
    student, teacher = (
        lambda images, network=network, of_network=of_network: (
            eval_mode(network, of_network, images).logits
        )
        for network, of_network in zip(networks, variables, strict=True)
    )
    return record_ascent(student, teacher, images, steps, learning_rate, augmentation)


def sample_images(count: int, num_examples: int, seed: int) -> list[int]:
    """Samples indices of test images from as few batches as possible.

    Args:
      count: the number of images, at most `num_examples`.
      num_examples: the size of the test set.
      seed: of the sampling.
    """
    rng = np.random.default_rng(seed)
    starts = rng.permutation(np.arange(0, num_examples, BATCH_SIZE))
    by_batch = (starts[:, None] + np.arange(BATCH_SIZE)).flatten()
    whole_batches = -(-count // BATCH_SIZE) * BATCH_SIZE
    candidates = by_batch[by_batch < num_examples][:whole_batches]
    return sorted(rng.choice(candidates, count, replace=False).tolist())


class ClassProbability(NamedTuple):
    """A class and the probability that a network assigns to it."""

    label: int
    probability: float


def top_classes(logits: np.ndarray, count: int = 3) -> list[ClassProbability]:
    """Returns the `count` likeliest classes of logits `[K]`, the likeliest first."""
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = shifted / shifted.sum()
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [
        ClassProbability(int(label), float(probabilities[label])) for label in order
    ]
