"""Baselines of Disagreement Augmentation: FGSM, PGD and noise.

References:
  y4umeng/disagreement_augmentation, src/distillers/_augmented.py (FGSM2).
  Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from da_jax.ascent.ascend import Ascended, Projection, ascend, flip, static
from da_jax.ascent.disagreement import disagreement_augment, evaluate, uniform
from da_jax.losses import ArrayLike


def negative_label_logit(
    logits: Float[ArrayLike, "B K"], labels: Int[ArrayLike, " B"]
) -> Float[Array, " B"]:
    """Returns minus the logit of each label."""
    classes = jnp.asarray(labels)[:, None]
    return -jnp.take_along_axis(jnp.asarray(logits), classes, axis=-1)[:, 0]


def linf_ball(radius: float | Array) -> Projection:
    """Creates the projection to the L∞ ball of `radius` around the given batch."""

    def project(x: Any, origin: Any) -> Any:
        def one(moved: Array, start: Array) -> Array:
            bound = jnp.asarray(radius, start.dtype)
            return start + jnp.clip(moved - start, -bound, bound)

        return jax.tree.map(one, x, origin)

    return project


def fgsm(
    x: PyTree[Float[ArrayLike, "B ..."]],
    student: Callable[..., Any],
    labels: Int[ArrayLike, " B"],
    *,
    learning_rate: float | Float[Array, ""] = 0.01778,
    update_state: bool = True,
    student_state: Any = None,
    key: Array | None = None,
    probability: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Ascended:
    """Moves a batch by one step of Adam that lowers the logit of its labels.

    The original's baseline of this name applies the negative log-likelihood to logits
    instead of log-probabilities. Adam's first step is nearly the gradient's sign. For
    the sign of the cross-entropy's gradient, Goodfellow et al.'s FGSM, use
    `pgd(..., steps=1, learning_rate=radius)`.

    Args:
      x: see `disagreement_augment`.
      student: see `disagreement_augment`.
      labels: class indices `[B]`.
      learning_rate: in units of x.
      update_state: see `disagreement_augment`.
      student_state: see `disagreement_augment`.
      key: see `disagreement_augment`.
      probability: see `disagreement_augment`.
      axis_name: see `disagreement_augment`.

    Returns:
      `Ascended`; `before` and `after` are minus the mean logit of the labels.

    Raises:
      ValueError: an argument is out of range, a key is missing, or shapes don't fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import da_jax
      >>> x = jax.random.normal(jax.random.key(0), (4, 8))
      >>> weights = jax.random.normal(jax.random.key(1), (8, 10))
      >>> moved = da_jax.fgsm(x, lambda x: x @ weights, jnp.arange(4))
      >>> print(f"{jnp.max(jnp.abs(moved.x - x)):.4f}")
      0.0178
    """

    return _against_labels(
        x,
        student,
        labels,
        negative_label_logit,
        optax.adam(learning_rate),
        steps=1,
        update_state=update_state,
        student_state=student_state,
        key=key,
        probability=probability,
        axis_name=axis_name,
    )


def pgd(
    x: PyTree[Float[ArrayLike, "B ..."]],
    student: Callable[..., Any],
    labels: Int[ArrayLike, " B"],
    *,
    learning_rate: float | Float[Array, ""] = 0.00889,
    radius: float | Float[Array, ""] = 0.01778,
    steps: int | Int[Array, ""] = 4,
    update_state: bool = True,
    student_state: Any = None,
    key: Array | None = None,
    probability: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Ascended:
    """Increases the student's cross-entropy by projected gradient ascent in an L∞ ball.

    Each step adds `learning_rate` × the sign of the gradient, then clips each value to
    at most `radius` from the given one.

    Args:
      x: see `disagreement_augment`.
      student: see `disagreement_augment`.
      labels: class indices `[B]`.
      learning_rate: of a step, in units of x.
      radius: of the ball, in units of x.
      steps: the number of steps; an int or a traced integer.
      update_state: see `disagreement_augment`.
      student_state: see `disagreement_augment`.
      key: see `disagreement_augment`.
      probability: see `disagreement_augment`.
      axis_name: see `disagreement_augment`.

    Returns:
      `Ascended`; `before` and `after` are the mean cross-entropy.

    Raises:
      ValueError: an argument is out of range, a key is missing, or shapes don't fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import da_jax
      >>> x = jax.random.normal(jax.random.key(0), (4, 8))
      >>> weights = jax.random.normal(jax.random.key(1), (8, 10))
      >>> moved = da_jax.pgd(x, lambda x: x @ weights, jnp.arange(4), radius=0.01)
      >>> print(f"{jnp.max(jnp.abs(moved.x - x)):.4f}")
      0.0100
    """

    return _against_labels(
        x,
        student,
        labels,
        optax.softmax_cross_entropy_with_integer_labels,
        optax.sign_sgd(learning_rate),
        steps=steps,
        project=linf_ball(radius),
        update_state=update_state,
        student_state=student_state,
        key=key,
        probability=probability,
        axis_name=axis_name,
    )


def _against_labels(
    x: Any,
    student: Callable[..., Any],
    labels: Any,
    loss: Callable[[Array, Array], Array],
    optimizer: optax.GradientTransformation,
    *,
    steps: int | Array,
    update_state: bool,
    student_state: Any,
    key: Array | None,
    probability: float | Array,
    axis_name: str | None,
    project: Callable[[Any, Any], Any] | None = None,
) -> Ascended:
    """Increases a loss `[B]` of the student's logits and the labels."""
    static(steps)
    labels = jnp.asarray(labels)
    coin = flip(None if key is None else jax.random.split(key)[0], probability)
    has_state = student_state is not None

    def objective(x: Any, state: Any) -> tuple[Array, Any]:
        logits, new_state = evaluate(student, x, state, has_state)
        if jnp.ndim(logits) != 2 or jnp.shape(labels) != jnp.shape(logits)[:1]:
            raise ValueError(
                f"the student's logits are {list(jnp.shape(logits))} and the labels"
                f" {list(jnp.shape(labels))}; they must be [B, K] and [B]"
            )
        return loss(logits, labels), new_state if update_state else state

    ascended = ascend(
        x,
        objective,
        optimizer=optimizer,
        steps=steps if coin is None else jnp.where(coin, steps, 0),
        project=project,
        state=student_state,
        axis_name=axis_name,
    )
    return ascended._replace(applied=jnp.array(True) if coin is None else coin)


def noise(
    x: PyTree[Float[ArrayLike, "B ..."]],
    student: Callable[..., Any],
    teacher: Callable[[Any], Array],
    *,
    key: Array,
    learning_rate: float | Float[Array, ""] = 0.01778,
    steps: int | Int[Array, ""] = 1,
    divergence: str = "mse",
    logit_standardization: bool = False,
    update_state: bool = True,
    reduce_on_plateau: bool = True,
    reference_batch: int | None = None,
    student_state: Any = None,
    probability: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Ascended:
    """Moves a batch as far as Disagreement Augmentation does, in a random direction.

    A control for the direction of the ascent: each example moves by uniform noise,
    scaled to the L2 norm of its ascent.

    Args:
      x: see `disagreement_augment`.
      student: see `disagreement_augment`.
      teacher: see `disagreement_augment`.
      key: a random key for this batch, for the noise and the coin.
      learning_rate: of the ascent.
      steps: of the ascent.
      divergence: of the ascent.
      logit_standardization: of the ascent.
      update_state: whether the student's state is updated by the ascent.
      reduce_on_plateau: of the ascent.
      reference_batch: of the ascent.
      student_state: see `disagreement_augment`.
      probability: see `disagreement_augment`.
      axis_name: see `disagreement_augment`.

    Returns:
      `Ascended`; `after` is the mean disagreement of the noisy batch.

    Raises:
      ValueError: an argument is out of range, or logits don't fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import da_jax
      >>> x = jax.random.normal(jax.random.key(0), (64, 8))
      >>> networks = jax.random.normal(jax.random.key(1), (2, 8, 10))
      >>> student, teacher = (lambda x, w=w: x @ w for w in networks)
      >>> harder = da_jax.disagreement_augment(x, student, teacher)
      >>> noisy = da_jax.noise(x, student, teacher, key=jax.random.key(2))
      >>> lengths = [jnp.linalg.norm(moved.x[0] - x[0]) for moved in (harder, noisy)]
      >>> bool(jnp.allclose(*lengths)), bool(noisy.after < harder.after)
      (True, True)
    """
    if key is None:
        raise ValueError("noise is drawn from a key; give key=jax.random.key(...)")
    ascended = disagreement_augment(
        x,
        student,
        teacher,
        learning_rate=learning_rate,
        steps=steps,
        divergence=divergence,
        logit_standardization=logit_standardization,
        update_state=update_state,
        reduce_on_plateau=reduce_on_plateau,
        reference_batch=reference_batch,
        student_state=student_state,
        key=key,
        probability=probability,
        axis_name=axis_name,
    )
    x = jax.lax.stop_gradient(jax.tree.map(jnp.asarray, x))
    direction = uniform(jax.random.split(key)[1], x, axis_name)
    noisy = _as_far(x, ascended.x, direction)
    at_noise = disagreement_augment(
        noisy,
        student,
        teacher,
        steps=0,
        divergence=divergence,
        logit_standardization=logit_standardization,
        student_state=ascended.state,
        axis_name=axis_name,
    )
    return ascended._replace(x=noisy, after=at_noise.after)


def _as_far(x: Any, moved: Any, direction: Any) -> Any:
    """Moves each example of x along its direction, as far as it was `moved`."""
    scale = _norms(jax.tree.map(jnp.subtract, moved, x)) / _norms(direction)

    def one(start: Array, direction: Array) -> Array:
        lengths = scale.astype(start.dtype).reshape(-1, *[1] * (start.ndim - 1))
        return start + lengths * direction

    return jax.tree.map(one, x, direction)


def _norms(x: Any) -> Array:
    """Computes the L2 norm of each example over all arrays of x, `[B]`."""
    leaves = jax.tree.leaves(x)
    squares = [jnp.sum(jnp.square(leaf.reshape(len(leaf), -1)), -1) for leaf in leaves]
    return jnp.sqrt(sum(squares))
