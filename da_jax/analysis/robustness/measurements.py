"""Accuracy on test images that are moved, attacked or corrupted."""

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
from da_jax.models.forward import Variables, eval_mode

BATCH_SIZE = 100
"""Batch size where examples are independent: attacks, corruptions, clean images."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A network without its weights, the static argument of the jitted functions.

    Attributes:
      network: the module.
      preprocessing: that of its data set.
    """

    network: nn.Module
    preprocessing: Preprocessing

    def normalize(self, images: jax.Array) -> jax.Array:
        """Normalises pixels from 0 to 255, `[B, H, W, C]`."""
        return self.preprocessing.normalize(images, jnp.float32)

    def logits(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Returns the logits `[B, K]` for normalised images `[B, H, W, C]`."""
        return eval_mode(self.network, variables, images).logits


class NamedNetwork:
    """A network on the device, and its name in tables and figures.

    Attributes:
      name: unique among the compared networks.
      pretrained: the network as it was loaded.
      classifier: its module and preprocessing.
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
    """The networks, the test set and the settings of a measurement.

    Attributes:
      students: one or more.
      teacher: the teacher of all students.
      examples: the test set, on the host.
      settings: of the ascent, the attacks and the corruptions.
      on_progress: is called with the number of images evaluated since the last call,
        times the gradient steps for each where there are any; `count_progress` is the
        total.
    """

    students: list[NamedNetwork]
    teacher: NamedNetwork
    examples: Examples
    settings: Settings
    on_progress: Callable[[int], object] = lambda images: None

    @property
    def networks(self) -> list[NamedNetwork]:
        """The students, then the teacher."""
        return [*self.students, self.teacher]


Curves = dict[str, list[float]]
"""Lists of measured values by name; accuracies are in %."""

ImagesAt = Callable[[np.ndarray], np.ndarray]
"""Indices `[B]` to images, uint8 `[B, H, W, C]`."""


def measure_clean(comparison: Comparison) -> dict[str, float]:
    """Measures each network's accuracy on the unchanged images, in %."""
    images = np.asarray(comparison.examples.images)
    return {
        network.name: _accuracy(comparison, network, lambda indices: images[indices])
        for network in comparison.networks
    }


def measure_disagreement(comparison: Comparison) -> dict[str, Curves]:
    """Measures accuracies and the mean disagreement after 0 … E ascent steps.

    The images are moved separately for each student.

    Returns:
      By the student's name, the curves `student`, `teacher` and `disagreement`.
    """
    settings, teacher = comparison.settings, comparison.teacher
    images, labels = comparison.examples
    curves = {}
    for student in comparison.students:
        sums: dict[str, np.ndarray] = {}
        for start in range(0, len(labels), settings.batch_size):
            batch = slice(start, start + settings.batch_size)
            batch_sums = _ascent_sums(
                student.classifier,
                teacher.classifier,
                settings.steps,
                student.variables,
                teacher.variables,
                images[batch],
                labels[batch],
                settings.learning_rate,
            )
            for name, values in batch_sums.items():
                sums[name] = sums.get(name, 0) + np.asarray(values, np.float64)
            comparison.on_progress(len(labels[batch]) * (settings.steps + 1))
        curves[student.name] = {
            "student": (100 * sums["student"] / len(labels)).tolist(),
            "teacher": (100 * sums["teacher"] / len(labels)).tolist(),
            "disagreement": (sums["disagreement"] / len(labels)).tolist(),
        }
    return curves


def measure_attacks(comparison: Comparison) -> dict[str, Curves]:
    """Measures accuracies under white-box attacks.

    Returns:
      By the network's name and the attack's, the accuracy for each budget.
    """
    return {
        network.name: {
            name: [
                _robust_accuracy(comparison, network, attack, budget)
                for budget in comparison.settings.budgets
            ]
            for name, attack in ATTACKS.items()
        }
        for network in comparison.networks
    }


def measure_corruptions(comparison: Comparison) -> dict[str, Curves]:
    """Measures accuracies on corrupted images, the same for every network.

    Returns:
      By the network's name and the corruption's, the accuracy for each severity.
    """
    return {
        network.name: {
            name: [
                _accuracy(comparison, network, _corrupted(comparison, corruption, each))
                for each in corruption.severities
            ]
            for name, corruption in CORRUPTIONS.items()
        }
        for network in comparison.networks
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


def count_progress(part: str, comparison: Comparison) -> int:
    """Returns the total that `on_progress` receives for a part or for `clean`."""
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
    """Yields indices `[B]` and how many of them count: the last batch is padded."""
    size = len(comparison.examples.labels)
    batch_size = min(BATCH_SIZE, size)
    for start in range(0, size, batch_size):
        indices = np.arange(start, start + batch_size)
        yield np.minimum(indices, size - 1), min(batch_size, size - start)


def _accuracy(
    comparison: Comparison, network: NamedNetwork, images_at: ImagesAt
) -> float:
    """Returns the accuracy on the images that `images_at` returns, in %."""
    labels = comparison.examples.labels
    correct = 0
    for indices, count in _batches(comparison):
        is_correct = _are_correct(
            network.classifier, network.variables, images_at(indices), labels[indices]
        )
        correct += int(np.sum(is_correct[:count]))
        comparison.on_progress(count)
    return 100 * correct / len(labels)


def _robust_accuracy(
    comparison: Comparison, network: NamedNetwork, attack: Attack, budget: float
) -> float:
    """Returns the accuracy under an attack with a budget in 255ths, in %."""
    settings, (images, labels) = comparison.settings, comparison.examples
    iterations = 1 if attack is ATTACKS["FGSM"] else settings.iterations
    correct = 0
    for indices, count in _batches(comparison):
        is_correct = _are_correct_under_attack(
            network.classifier,
            attack,
            iterations,
            network.variables,
            images[indices],
            labels[indices],
            np.uint32(settings.seed),
            indices,
            budget / 255,
        )
        correct += int(np.sum(is_correct[:count]))
        comparison.on_progress(count * iterations)
    return 100 * correct / len(labels)


@functools.partial(jax.jit, static_argnums=0)
def _are_correct(
    classifier: Classifier, variables: Variables, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """Returns whether uint8 images `[B, H, W, C]` are classified correctly, `[B]`."""
    logits = classifier.logits(variables, classifier.normalize(images))
    return jnp.argmax(logits, axis=-1) == labels


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _are_correct_under_attack(
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
    """Returns whether images are classified correctly after an attack, `[B]`."""

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
    """Sums correct predictions and the disagreement of a batch after 0 … E steps."""
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
