"""Disagreement Augmentation: images in, harder images out.

Gradient ascent moves a batch to where student and teacher disagree most; the weights of
both stay fixed. With logits S of the student and T of the teacher, and D their
disagreement, every ascent step is one of Adam's, new for each batch:

  x ← x + α · Adam(∂D(S(x), T(x)) / ∂x)

α is cut as by PyTorch's ReduceLROnPlateau when D stops rising.

References:
  y4umeng/disagreement_augmentation, the training loop of the paper's experiments
  (mean squared error, `update_batch_stats`, `reduce_on_plateau`) and, later,
  src/distillers/_augmented.py (Kullback-Leibler divergence, neither of the two).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from da_jax.ascent.disagreement import DIVERGENCES
from da_jax.errors import unknown_name
from da_jax.losses import standardize

StudentFunction = Callable[[jax.Array, Any], tuple[jax.Array, Any]]
"""(images `[B, H, W, C]`, batch_stats) to (logits `[B, K]`, moved batch_stats)."""

TeacherFunction = Callable[[jax.Array], jax.Array]
"""Images `[B, H, W, C]` to logits `[B, K]`."""

Noise = Callable[[], jax.Array]
"""Draws uniform(-1, 1) noise `[B, H, W, C]`."""


@dataclasses.dataclass(frozen=True)
class DisagreementAugmentation:
    """What of the ascent is fixed when it is compiled; the defaults are the paper's.

    Attributes:
      divergence: a key of `DIVERGENCES`.
      logit_standardization: standardise both networks' logits before the divergence.
      update_batch_stats: the student's passes over the half-moved images move its
        running statistics; else those movements are thrown away.
      reduce_on_plateau: cut the learning rate when the disagreement stops rising.
      random_init: start from uniform(-1, 1) noise in place of the images.
      reference_batch: 0, or the batch size whose gradients Adam shall see: the mean
        over the batch makes them shrink with its size against Adam's eps of 1e-8.

    Raises:
      UserError: no such divergence.
    """

    divergence: str = "mse"
    logit_standardization: bool = False
    update_batch_stats: bool = True
    reduce_on_plateau: bool = True
    random_init: bool = False
    reference_batch: int = 0

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            raise unknown_name("divergence", self.divergence, DIVERGENCES)

    def distance(
        self, student_logits: jax.Array, teacher_logits: jax.Array
    ) -> jax.Array:
        """The disagreement of each example, from `[B, K]` to `[B]`."""
        if self.logit_standardization:
            student_logits = standardize(student_logits)
            teacher_logits = standardize(teacher_logits)
        return DIVERGENCES[self.divergence](student_logits, teacher_logits)

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """What is ascended for each example, from `[B, K]` and `[B]` to `[B]`."""
        del labels
        return self.distance(student_logits, teacher_logits)

    def direction(
        self, gradient: jax.Array, adam: optax.OptState
    ) -> tuple[jax.Array, optax.OptState]:
        """Where a step goes, in units of α, and Adam's moments after it."""
        downhill, adam = _ADAM.update(-gradient, adam)
        return -downhill, adam

    def constrain(
        self, images: jax.Array, origin: jax.Array, radius: jax.typing.ArrayLike
    ) -> jax.Array:
        """Images after a step, brought back to where they may be."""
        del origin, radius
        return images

    def finish(
        self, images: jax.Array, origin: jax.Array, noise: Noise | None
    ) -> jax.Array:
        """Images after the last step."""
        del origin, noise
        return images


ADAPTATION = 0.1
"""The exponent by which a batch's rise changes α: ten batches put it right."""


def adapt(
    scale: jax.Array,
    before: jax.Array,
    after: jax.Array,
    target: jax.typing.ArrayLike,
) -> jax.Array:
    """What α is multiplied by, so that the disagreement rises as far as it shall.

    Ours, not the paper's: one target fits pairs and stages of training that need
    different α. A batch changes α by a factor of at most 2^0.1, and all of them
    together by at most 100.

    Args:
      scale: the factor until now, a scalar.
      before: the mean disagreement of a batch before its ascent.
      after: and after it.
      target: of after / before − 1; 0 leaves α as it is.
    """
    rise = after / before - 1
    wrong_by = jnp.where(rise > 0, target / rise, 2.0)
    corrected = scale * jnp.clip(wrong_by, 0.5, 2.0) ** ADAPTATION
    is_measured = jnp.isfinite(rise) & (jnp.asarray(target) > 0)
    return jnp.where(is_measured, jnp.clip(corrected, 0.01, 100.0), scale)


class Ascent(flax.struct.PyTreeNode):
    """A batch on its way up.

    Attributes:
      images: `[B, H, W, C]`, normalised, not clipped.
      batch_stats: the student's running statistics.
      adam: Adam's moments of the images.
      plateau: what ReduceLROnPlateau remembers; its `scale` multiplies α.
      steps: how many were taken.
      initial_disagreement: the mean before the first step; 0 until there was one.
    """

    images: jax.Array
    batch_stats: Any
    adam: optax.OptState
    plateau: optax.OptState
    steps: jax.Array
    initial_disagreement: jax.Array


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)

_PLATEAU = optax.contrib.reduce_on_plateau(
    factor=0.1,
    patience=11,  # PyTorch cuts after more than 10 steps without a rise
    rtol=1e-4,
)


def start(images: jax.Array, batch_stats: Any) -> Ascent:
    """The ascent of `images` `[B, H, W, C]`, before its first step."""
    return Ascent(
        images=images,
        batch_stats=batch_stats,
        adam=_ADAM.init(images),
        plateau=_PLATEAU.init(images),
        steps=jnp.zeros((), jnp.int32),
        initial_disagreement=jnp.zeros((), images.dtype),
    )


def ascent_step(
    augmentation: DisagreementAugmentation,
    ascent: Ascent,
    student: StudentFunction,
    teacher: TeacherFunction,
    labels: jax.Array,
    learning_rate: jax.typing.ArrayLike,
    axis_name: str | None = None,
) -> Ascent:
    """One step up the objective, which is the disagreement unless it is said otherwise.

    Args:
      augmentation: the ascent's fixed settings.
      ascent: where the batch is now; this device's share of it.
      student: in train mode, as the images are the only thing that moves.
      teacher: in eval mode.
      labels: int `[B]`.
      learning_rate: α, in units of normalised pixels.
      axis_name: the pmapped axis the batch is split over, or None.

    Returns:
      Where the batch is one step later.
    """
    moved, _ = observed_step(
        augmentation, ascent, student, teacher, labels, learning_rate, axis_name
    )
    return moved


def observed_step(
    augmentation: DisagreementAugmentation,
    ascent: Ascent,
    student: StudentFunction,
    teacher: TeacherFunction,
    labels: jax.Array,
    learning_rate: jax.typing.ArrayLike,
    axis_name: str | None = None,
) -> tuple[Ascent, tuple[jax.Array, jax.Array]]:
    """`ascent_step`, and both networks' logits `[B, K]` of the images before it."""

    def mean_objective(
        images: jax.Array,
    ) -> tuple[jax.Array, tuple[jax.Array, Any, tuple[jax.Array, jax.Array]]]:
        student_logits, batch_stats = student(images, ascent.batch_stats)
        logits = student_logits, teacher(images)
        objective = jnp.mean(augmentation.objective(*logits, labels))
        distance = jnp.mean(augmentation.distance(*logits))
        return objective, (distance, batch_stats, logits)

    (value, (disagreement, batch_stats, logits)), gradient = jax.value_and_grad(
        mean_objective, has_aux=True
    )(ascent.images)
    batch_size = ascent.images.shape[0]
    if axis_name is not None:
        # Each device's mean sees the others' images through batch norm, and the
        # transpose of a psum is a psum: the gradient is the global one times N.
        devices = jax.lax.axis_size(axis_name)
        value, disagreement = jax.lax.pmean((value, disagreement), axis_name)
        gradient = gradient / devices
        batch_size = batch_size * devices
    if augmentation.reference_batch:
        gradient = gradient * (batch_size / augmentation.reference_batch)
    direction, adam = augmentation.direction(gradient, ascent.adam)
    step_size = learning_rate * ascent.plateau.scale
    plateau = ascent.plateau
    if augmentation.reduce_on_plateau:
        # Optax scales the update it is fed the value of, PyTorch the one after it.
        _, plateau = _PLATEAU.update(direction, plateau, value=-value)
    if not augmentation.update_batch_stats:
        batch_stats = ascent.batch_stats
    moved = Ascent(
        images=ascent.images + step_size * direction,
        batch_stats=batch_stats,
        adam=adam,
        plateau=plateau,
        steps=ascent.steps + 1,
        initial_disagreement=jnp.where(
            ascent.steps == 0, disagreement, ascent.initial_disagreement
        ),
    )
    return moved, logits


def augment(
    augmentation: DisagreementAugmentation,
    ascent: Ascent,
    student: StudentFunction,
    teacher: TeacherFunction,
    labels: jax.Array,
    learning_rate: jax.typing.ArrayLike,
    axis_name: str | None = None,
    *,
    steps: jax.typing.ArrayLike = 1,
    radius: jax.typing.ArrayLike = float("inf"),
    noise: Noise | None = None,
) -> Ascent:
    """So many steps from `ascent`.

    Args:
      augmentation: the ascent's fixed settings.
      ascent: the batch before its first step; this device's share of it.
      student: in train mode.
      teacher: in eval mode.
      labels: int `[B]`.
      learning_rate: α, in units of normalised pixels.
      axis_name: the pmapped axis the batch is split over, or None.
      steps: of ascent (the paper's e), at least 0.
      radius: how far a pixel may go, for an augmentation with such a bound.
      noise: draws noise, for an augmentation that has a use for it.
    """
    origin = ascent.images

    def body(_: jax.Array, moving: Ascent) -> Ascent:
        moved = ascent_step(
            augmentation, moving, student, teacher, labels, learning_rate, axis_name
        )
        return moved.replace(
            images=augmentation.constrain(moved.images, origin, radius)
        )

    moved = jax.lax.fori_loop(0, steps, body, ascent)
    return moved.replace(images=augmentation.finish(moved.images, origin, noise))
