"""The accuracy of several networks on a test set that is made harder for them."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from da_jax.analysis.pretrained import Pretrained
from da_jax.analysis.recording import record_ascent
from da_jax.analysis.robustness.attacks import ATTACKS, Attack
from da_jax.analysis.robustness.corruptions import CORRUPTIONS, Corruption
from da_jax.analysis.robustness.settings import Settings
from da_jax.data import Examples
from da_jax.data.preprocessing import Preprocessing
from da_jax.models.forward import Variables

BATCH_SIZE = 100
"""Of what treats each example by itself: attacks, corruptions, clean images."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A network without its weights: what a program is compiled for.

    Attributes:
      network: the module.
      preprocessing: of its data set.
    """

    network: nn.Module
    preprocessing: Preprocessing

    def normalize(self, images: jax.Array) -> jax.Array:
        """The network's input, of values from 0 to 255 `[B, H, W, C]`."""
        return self.preprocessing.normalize(images, jnp.float32)

    def logits(self, variables: Variables, images: jax.Array) -> jax.Array:
        """`[B, K]`, of normalised images `[B, H, W, C]`."""
        logits, _ = self.network.apply(variables, images, train=False)
        return logits


class Subject:
    """A network whose accuracy is measured.

    Attributes:
      name: how the figures call it.
      pretrained: where it comes from.
      classifier: its module.
      variables: its weights, on the device.
    """

    def __init__(
        self, name: str, pretrained: Pretrained, preprocessing: Preprocessing
    ) -> None:
        """Puts the weights on the device."""
        self.name = name
        self.pretrained = pretrained
        self.classifier = Classifier(pretrained.network, preprocessing)
        self.variables = jax.device_put(pretrained.variables)


@dataclasses.dataclass
class Comparison:
    """Who is compared on what.

    Attributes:
      students: one or several.
      teacher: of all of them.
      examples: the test set, on the host.
      settings: how it is made harder.
      advance: is called with the number of images that have passed a network, or, with
        a gradient, of steps that images have taken.
    """

    students: list[Subject]
    teacher: Subject
    examples: Examples
    settings: Settings
    advance: Callable[[int], object] = lambda images: None

    @property
    def networks(self) -> list[Subject]:
        """The students and the teacher."""
        return [*self.students, self.teacher]


Curves = dict[str, list[float]]
"""Figures by what they are of: accuracies in %."""

ImagesAt = Callable[[np.ndarray], np.ndarray]
"""Indices `[B]` to images, uint8 `[B, H, W, C]`."""


def measure_clean(comparison: Comparison) -> dict[str, float]:
    """Each network's accuracy on the images as they are, in %."""
    images = np.asarray(comparison.examples.images)
    return {
        subject.name: _accuracy(comparison, subject, lambda indices: images[indices])
        for subject in comparison.networks
    }


def measure_disagreement(comparison: Comparison) -> dict[str, Curves]:
    """Accuracies and mean disagreement after 0 … E steps of the ascent.

    Each student has images of its own, moved to where it and the teacher disagree.

    Returns:
      `student`, `teacher` and `disagreement` by the student's name.
    """
    settings, teacher = comparison.settings, comparison.teacher
    images, labels = comparison.examples
    curves = {}
    for student in comparison.students:
        sums: dict[str, np.ndarray] = {}
        for start in range(0, len(labels), settings.batch_size):
            batch = slice(start, start + settings.batch_size)
            of_batch = _ascent_sums(
                student.classifier,
                teacher.classifier,
                settings.steps,
                student.variables,
                teacher.variables,
                images[batch],
                labels[batch],
                settings.learning_rate,
            )
            for name, values in of_batch.items():
                sums[name] = sums.get(name, 0) + np.asarray(values, np.float64)
            comparison.advance(len(labels[batch]) * (settings.steps + 1))
        curves[student.name] = {
            "student": (100 * sums["student"] / len(labels)).tolist(),
            "teacher": (100 * sums["teacher"] / len(labels)).tolist(),
            "disagreement": (sums["disagreement"] / len(labels)).tolist(),
        }
    return curves


def measure_attacks(comparison: Comparison) -> dict[str, Curves]:
    """Accuracies under every attack, which knows the network it attacks.

    Returns:
      By the network's name and the attack's, a figure for each budget.
    """
    return {
        subject.name: {
            name: [
                _robust_accuracy(comparison, subject, attack, budget)
                for budget in comparison.settings.budgets
            ]
            for name, attack in ATTACKS.items()
        }
        for subject in comparison.networks
    }


def measure_corruptions(comparison: Comparison) -> dict[str, Curves]:
    """Accuracies on corrupted images, the same for every network.

    Returns:
      By the network's name and the corruption's, a figure for each severity.
    """
    return {
        subject.name: {
            name: [
                _accuracy(comparison, subject, _corrupted(comparison, corruption, of))
                for of in corruption.severities
            ]
            for name, corruption in CORRUPTIONS.items()
        }
        for subject in comparison.networks
    }


def _corrupted(
    comparison: Comparison, corruption: Corruption, severity: float
) -> ImagesAt:
    seed, images = comparison.settings.seed, np.asarray(comparison.examples.images)
    return lambda indices: corruption.apply(images[indices], severity, seed, indices)


MEASUREMENTS: dict[str, Callable[[Comparison], dict[str, Curves]]] = {
    "disagreement": measure_disagreement,
    "attacks": measure_attacks,
    "corruptions": measure_corruptions,
}
"""By the part's name, one of `settings.PARTS`."""


def count_passes(part: str, comparison: Comparison) -> int:
    """What `comparison.advance` will be told in all; of a part, or of `clean`."""
    settings, networks = comparison.settings, len(comparison.networks)
    attack_steps = 1 + 2 * settings.iterations
    severities = sum(len(c.severities) for c in CORRUPTIONS.values())
    per_image = {
        "clean": networks,
        "disagreement": len(comparison.students) * (settings.steps + 1),
        "attacks": networks * len(settings.budgets) * attack_steps,
        "corruptions": networks * severities,
    }
    return len(comparison.examples.labels) * per_image[part]


def _batches(comparison: Comparison) -> Iterator[tuple[np.ndarray, int]]:
    """Indices `[B]`, and how many of them count: the last ones may be repeated."""
    size = len(comparison.examples.labels)
    batch_size = min(BATCH_SIZE, size)
    for start in range(0, size, batch_size):
        indices = np.arange(start, start + batch_size)
        yield np.minimum(indices, size - 1), min(batch_size, size - start)


def _accuracy(comparison: Comparison, subject: Subject, images_at: ImagesAt) -> float:
    """On the images that `images_at` gives for indices `[B]`, in %."""
    labels = comparison.examples.labels
    correct = 0
    for indices, count in _batches(comparison):
        is_correct = _are_correct(
            subject.classifier, subject.variables, images_at(indices), labels[indices]
        )
        correct += int(np.sum(is_correct[:count]))
        comparison.advance(count)
    return 100 * correct / len(labels)


def _robust_accuracy(
    comparison: Comparison, subject: Subject, attack: Attack, budget: float
) -> float:
    """On the images that an attack makes, within a budget in 255ths; in %."""
    settings, (images, labels) = comparison.settings, comparison.examples
    iterations = 1 if attack is ATTACKS["FGSM"] else settings.iterations
    correct = 0
    for indices, count in _batches(comparison):
        is_correct = _withstand(
            subject.classifier,
            attack,
            iterations,
            subject.variables,
            images[indices],
            labels[indices],
            np.uint32(settings.seed),
            indices,
            budget / 255,
        )
        correct += int(np.sum(is_correct[:count]))
        comparison.advance(count * iterations)
    return 100 * correct / len(labels)


@functools.partial(jax.jit, static_argnums=0)
def _are_correct(
    classifier: Classifier, variables: Variables, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """Whether each image `[B, H, W, C]`, uint8, is taken for what it is; `[B]`."""
    logits = classifier.logits(variables, classifier.normalize(images))
    return jnp.argmax(logits, axis=-1) == labels


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _withstand(
    classifier: Classifier,
    attack: Attack,
    iterations: int,
    variables: Variables,
    images: jax.Array,
    labels: jax.Array,
    seed: jax.Array,
    indices: jax.Array,
    budget: jax.Array,
) -> jax.Array:
    """Whether each image is taken for what it is after an attack; `[B]`."""

    def logits(pixels: jax.Array) -> jax.Array:
        return classifier.logits(variables, classifier.normalize(255 * pixels))

    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(
        indices
    )
    pixels = images.astype(jnp.float32) / 255
    attacked = attack(logits, pixels, labels, budget, keys, iterations)
    return jnp.argmax(logits(attacked), axis=-1) == labels


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _ascent_sums(
    student: Classifier,
    teacher: Classifier,
    steps: int,
    student_variables: Variables,
    teacher_variables: Variables,
    images: jax.Array,
    labels: jax.Array,
    learning_rate: jax.Array,
) -> dict[str, jax.Array]:
    """Of a batch, after 0 … E steps: how many are right, and the disagreement's sum."""
    recording = record_ascent(
        functools.partial(student.logits, student_variables),
        functools.partial(teacher.logits, teacher_variables),
        student.normalize(images),
        steps,
        learning_rate,
    )

    def count(logits: jax.Array) -> jax.Array:
        return jnp.sum(jnp.argmax(logits, axis=-1) == labels, axis=-1)

    return {
        "student": count(recording.student_logits),
        "teacher": count(recording.teacher_logits),
        "disagreement": jnp.sum(recording.disagreement, axis=-1),
    }
