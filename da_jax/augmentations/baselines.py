"""What Disagreement Augmentation is compared with, made of the same parts.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (FGSM2).
  Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from da_jax.ascent.ascend import Projection
from da_jax.ascent.baselines import linf_ball, negative_label_logit
from da_jax.augmentations.ascent import AscentAugmentation
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.declarations import NOT_NEGATIVE, Declaration


@dataclasses.dataclass(frozen=True)
class FGSM(AscentAugmentation):
    """The original's baseline: one step of Adam that lowers the label's logit.

    The original takes the negative log-likelihood of logits that aren't
    log-probabilities. Adam's first step is nearly the gradient's sign.
    """

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """Returns minus the label's logit, from `[B, K]` and `[B]` to `[B]`."""
        del teacher_logits
        return negative_label_logit(student_logits, labels)

    def optimizer(
        self, learning_rate: jax.typing.ArrayLike, batch_size: int
    ) -> optax.GradientTransformation:
        """Returns Adam."""
        del batch_size
        return optax.adam(jnp.asarray(learning_rate))


@dataclasses.dataclass(frozen=True)
class PGD(AscentAugmentation):
    """Steps by the sign of the gradient of the student's cross-entropy, in a box."""

    hyperparameters: ClassVar[Mapping[str, Declaration | None]] = {
        "learning_rate": Declaration(
            0.00889, NOT_NEGATIVE, "of a step, in units of normalised pixels"
        ),
        "radius": Declaration(0.01778, NOT_NEGATIVE, "how far a pixel may move"),
        "steps": Declaration(4, NOT_NEGATIVE, "of ascent"),
    }

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """Returns the cross-entropy, from `[B, K]` and `[B]` to `[B]`."""
        del teacher_logits
        return optax.softmax_cross_entropy_with_integer_labels(student_logits, labels)

    def optimizer(
        self, learning_rate: jax.typing.ArrayLike, batch_size: int
    ) -> optax.GradientTransformation:
        """Returns steps by the gradient's sign."""
        del batch_size
        return optax.sign_sgd(jnp.asarray(learning_rate))

    def projection(
        self, hyperparameters: Mapping[str, jax.typing.ArrayLike]
    ) -> Projection | None:
        """Returns the projection into the box."""
        return linf_ball(jnp.asarray(hyperparameters["radius"]))


@dataclasses.dataclass(frozen=True)
class RandomDirection(DisagreementAugmentation):
    """Moves each image as far as Disagreement Augmentation, in a random direction.

    The control that tells what the direction is worth: the move has the L2 norm of the
    ascent's, and is uniform noise.
    """

    config_section: ClassVar[str] = "disagreement"

    def finish(
        self, images: jax.Array, origin: jax.Array, noise: Callable[[], jax.Array]
    ) -> jax.Array:
        """Returns noise of the ascent's norm."""
        direction = noise()
        return origin + _norms(images - origin) / _norms(direction) * direction


def _norms(images: jax.Array) -> jax.Array:
    """L2 norms of `[B, H, W, C]`, as `[B, 1, 1, 1]`."""
    return jnp.sqrt(jnp.sum(jnp.square(images), axis=(1, 2, 3), keepdims=True))
