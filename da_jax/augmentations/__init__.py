"""AUGMENTATIONS: what may happen to a batch before the student learns from it.

Disagreement Augmentation, and what it is to be compared with. All are ascents, in units
of normalised pixels, with a coin for each batch; they differ in what they ascend and in
how they step.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (FGSM2).
  Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015.
  Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from da_jax.augmentations.disagreement import DisagreementAugmentation, Noise


@dataclasses.dataclass(frozen=True)
class FGSM(DisagreementAugmentation):
    """The original's baseline: one step of Adam that lowers the logit of the label.

    The original takes the negative log-likelihood of logits that are no
    log-probabilities. Adam's first step is nearly the gradient's sign.
    """

    reduce_on_plateau: bool = False

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """Minus the label's logit, from `[B, K]` and `[B]` to `[B]`."""
        del teacher_logits
        return -jnp.take_along_axis(student_logits, labels[:, None], axis=-1)[:, 0]


@dataclasses.dataclass(frozen=True)
class PGD(DisagreementAugmentation):
    """Steps by the sign of the gradient of the student's cross-entropy, in a box."""

    reduce_on_plateau: bool = False

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """The cross-entropy, from `[B, K]` and `[B]` to `[B]`."""
        del teacher_logits
        return optax.softmax_cross_entropy_with_integer_labels(student_logits, labels)

    def direction(
        self, gradient: jax.Array, adam: optax.OptState
    ) -> tuple[jax.Array, optax.OptState]:
        """The gradient's sign."""
        return jnp.sign(gradient), adam

    def constrain(
        self, images: jax.Array, origin: jax.Array, radius: jax.typing.ArrayLike
    ) -> jax.Array:
        """Every pixel at most `radius` from where it was."""
        bound = jnp.asarray(radius, images.dtype)
        return origin + jnp.clip(images - origin, -bound, bound)


@dataclasses.dataclass(frozen=True)
class RandomDirection(DisagreementAugmentation):
    """As far as Disagreement Augmentation goes, but in a random direction.

    The control that tells what the direction is worth: each image's move has the L2
    norm that the ascent's has, and is uniform noise.
    """

    def finish(
        self, images: jax.Array, origin: jax.Array, noise: Noise | None
    ) -> jax.Array:
        """Noise of the ascent's norm instead of the ascent."""
        assert noise is not None, "a random direction is drawn from noise"
        direction = noise()
        scale = _norms(images - origin) / _norms(direction)
        return origin + scale * direction


def _norms(images: jax.Array) -> jax.Array:
    """L2 norms of `[B, H, W, C]`, as `[B, 1, 1, 1]`."""
    return jnp.sqrt(jnp.sum(jnp.square(images), axis=(1, 2, 3), keepdims=True))


AUGMENTATIONS: dict[str, type[DisagreementAugmentation]] = {
    "disagreement": DisagreementAugmentation,
    "fgsm": FGSM,
    "noise": RandomDirection,
    "pgd": PGD,
}
