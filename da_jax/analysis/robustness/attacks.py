"""White-box attacks in L∞: gradient ascents of the cross-entropy, in pixel units.

A batch is attacked at once, but each example independently of the others. Pixels and
the budget ε, the largest change of a pixel, are in [0, 1]. P is the projection to
{x' : |x' − x| ≤ ε} ∩ [0, 1] and f is the cross-entropy.

References:
  Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015.
  Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
  Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
  diverse parameter-free attacks, ICML 2020.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from da_jax.ascent.ascend import Objective, Projection, ascend

LogitsFunction = Callable[[jax.Array], jax.Array]
"""Pixels `[B, H, W, C]` in [0, 1] to logits `[B, K]`, of a network in eval mode."""

Attack = Callable[
    [LogitsFunction, jax.Array, jax.Array, jax.typing.ArrayLike, jax.Array, int],
    jax.Array,
]
"""(logits, images, labels, budget, keys, iterations) to adversarial images.

Args:
  logits: of the attacked network.
  images: pixels `[B, H, W, C]` in [0, 1].
  labels: int `[B]`.
  budget: ε, a scalar.
  keys: of each example's random start, `[B]`.
  iterations: the number of steps, static.
"""

PGD_REACH = 2.5
"""The step size of PGD times its iterations, over ε, as in Madry et al."""

APGD_MOMENTUM = 0.75
"""α of Croce and Hein: the weight of the gradient's step; the last step has 1 − α."""

APGD_RISES = 0.75
"""ρ of Croce and Hein: the share of iterations that must raise the loss."""


def linf_box(images: jax.Array, budget: jax.typing.ArrayLike) -> Projection:
    """Returns P: to at most `budget` from `images` in each pixel, and to [0, 1]."""
    budget = jnp.asarray(budget, images.dtype)
    lower, upper = jnp.maximum(images - budget, 0), jnp.minimum(images + budget, 1)
    return lambda x, origin: jnp.clip(x, lower, upper)


def fgsm(
    logits: LogitsFunction,
    images: jax.Array,
    labels: jax.Array,
    budget: jax.typing.ArrayLike,
    keys: jax.Array,
    iterations: int = 1,
) -> jax.Array:
    """Takes the step of the fast gradient sign method: P(x + ε sign ∇f(x))."""
    del keys, iterations
    return ascend(
        images,
        cross_entropy(logits, labels),
        optimizer=optax.sign_sgd(budget),
        steps=1,
        project=linf_box(images, budget),
    ).x


def pgd(
    logits: LogitsFunction,
    images: jax.Array,
    labels: jax.Array,
    budget: jax.typing.ArrayLike,
    keys: jax.Array,
    iterations: int = 20,
) -> jax.Array:
    """Takes steps x ← P(x + η sign ∇f(x)) of projected gradient descent.

    It starts at a random point; the step size η is 2.5 ε over the iterations, and the
    last x is returned.
    """
    project = linf_box(images, budget)
    return ascend(
        _random_start(images, budget, keys),
        cross_entropy(logits, labels),
        optimizer=optax.sign_sgd(PGD_REACH * jnp.asarray(budget) / iterations),
        steps=iterations,
        project=project,
    ).x


def apgd(
    logits: LogitsFunction,
    images: jax.Array,
    labels: jax.Array,
    budget: jax.typing.ArrayLike,
    keys: jax.Array,
    iterations: int = 20,
) -> jax.Array:
    """Runs APGD-CE, Algorithm 1 of Croce and Hein, from one random start.

    The steps are those of `auto_pgd`. The result is the x of the largest loss, among
    the misclassified if there are any (the authors' code takes the newest of these).
    """
    project = linf_box(images, budget)
    start = _random_start(images, budget, keys)
    objective = cross_entropy(logits, labels)
    zeros = jnp.zeros(len(images), images.dtype)
    ascended = ascend(
        start,
        objective,
        optimizer=auto_pgd(budget, iterations, project),
        steps=iterations,
        project=project,
        state=Strongest(start, zeros - jnp.inf, zeros > 0),
    )
    _, strongest = objective(ascended.x, ascended.state)
    return strongest.images


class Strongest(NamedTuple):
    """The strongest adversarial images so far.

    Attributes:
      images: `[B, H, W, C]`.
      loss: `[B]`.
      is_wrong: whether the image is misclassified, `[B]`.
    """

    images: jax.Array
    loss: jax.Array
    is_wrong: jax.Array


def cross_entropy(logits: LogitsFunction, labels: jax.Array) -> Objective:
    """Returns the objective of the attacks; its state is None or a `Strongest`.

    `ascend` takes the gradient of its mean, in which an example's gradient is divided
    by the batch size: the attacks use its sign only.
    """

    def objective(images: jax.Array, strongest: Any) -> tuple[jax.Array, Any]:
        outputs = logits(images)
        loss = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
        found = Strongest(images, loss, outputs.argmax(axis=-1) != labels)
        return loss, strongest and _stronger(found, strongest)

    return objective


def _stronger(one: Strongest, other: Strongest) -> Strongest:
    """For each example `one`, where it beats `other`; misclassification comes first."""
    is_one = (one.is_wrong & ~other.is_wrong) | (
        (one.is_wrong == other.is_wrong) & (one.loss > other.loss)
    )
    return Strongest(*(_where(is_one, *pair) for pair in zip(one, other, strict=True)))


class AutoPGDState(NamedTuple):
    """The state of `auto_pgd`; images and gradients `[B, H, W, C]`, else `[B]`.

    Attributes:
      iteration: k, a scalar.
      images: x(k−1).
      loss: f(x(k−1)).
      best_images: those of the largest loss so far.
      best_loss: that loss.
      best_gradient: the update that `auto_pgd` was given there, a descent direction.
      step_size: η.
      rises: how many iterations since the last checkpoint raised the loss.
      last_best_loss: the best loss at the last checkpoint.
      was_halved: whether η was halved at it.
    """

    iteration: jax.Array
    images: jax.Array
    loss: jax.Array
    best_images: jax.Array
    best_loss: jax.Array
    best_gradient: jax.Array
    step_size: jax.Array
    rises: jax.Array
    last_best_loss: jax.Array
    was_halved: jax.Array


def auto_pgd(
    budget: jax.typing.ArrayLike, iterations: int, project: Projection
) -> optax.GradientTransformationExtraArgs:
    """Returns the steps of Auto-PGD as an optax transformation.

      z = P(x(k) + η sign ∇f(x(k)))
      x(k+1) = P(x(k) + α (z − x(k)) + (1 − α) (x(k) − x(k−1)))

    η starts at 2 ε. At checkpoints it is halved, and x goes back to the best image so
    far, where fewer than ρ of the iterations since the last checkpoint raised the loss,
    or where neither η nor the best loss has changed since. The checkpoint after
    iteration k − 1 is done when iteration k knows its loss; the first one is at the
    start, where nothing can be halved.

    Args:
      budget: ε.
      iterations: the number of steps, which sets the checkpoints.
      project: P.
    """
    intervals = jnp.array([0, *checkpoint_intervals(iterations)])

    def update(
        gradient: jax.Array,
        state: AutoPGDState,
        params: jax.Array,
        *,
        values: jax.Array,
        **extra_args: Any,
    ) -> tuple[jax.Array, AutoPGDState]:
        first, interval = state.iteration == 0, intervals[state.iteration]
        last, state = state.images, _observe(state, params, -values, gradient)
        state, gradient = _checkpoint(state, gradient, interval, first | (interval > 0))
        here, momentum = state.images, jnp.where(first, 1, APGD_MOMENTUM)
        step = state.step_size[:, None, None, None] * -jnp.sign(gradient)
        target = project(here + step, here)
        moved = here + momentum * (target - here) + (1 - momentum) * (here - last)
        return project(moved, here) - params, state

    return optax.GradientTransformationExtraArgs(
        lambda images: _first_state(images, budget), update
    )


def _first_state(images: jax.Array, budget: jax.typing.ArrayLike) -> AutoPGDState:
    zeros = jnp.zeros(len(images), images.dtype)
    return AutoPGDState(
        iteration=jnp.zeros((), jnp.int32),
        images=images,
        loss=zeros + jnp.inf,
        best_images=images,
        best_loss=zeros - jnp.inf,
        best_gradient=jnp.zeros_like(images),
        step_size=zeros + 2 * jnp.asarray(budget, images.dtype),
        rises=zeros.astype(jnp.int32),
        last_best_loss=zeros - jnp.inf,
        was_halved=zeros > 0,
    )


def _observe(
    state: AutoPGDState, images: jax.Array, loss: jax.Array, gradient: jax.Array
) -> AutoPGDState:
    """Moves to x(k), whose loss and gradient are known now."""
    is_best = loss > state.best_loss
    return state._replace(
        iteration=state.iteration + 1,
        images=images,
        loss=loss,
        best_images=_where(is_best, images, state.best_images),
        best_loss=jnp.where(is_best, loss, state.best_loss),
        best_gradient=_where(is_best, gradient, state.best_gradient),
        rises=state.rises + (loss > state.loss),
    )


def _checkpoint(
    state: AutoPGDState, gradient: jax.Array, interval: jax.Array, is_due: jax.Array
) -> tuple[AutoPGDState, jax.Array]:
    """Does a checkpoint if one is due, `interval` iterations after the last one."""
    oscillates = state.rises < APGD_RISES * interval
    is_stuck = ~state.was_halved & (state.best_loss == state.last_best_loss)
    halve = is_due & (oscillates | is_stuck)
    state = state._replace(
        images=_where(halve, state.best_images, state.images),
        loss=jnp.where(halve, state.best_loss, state.loss),
        step_size=jnp.where(halve, state.step_size / 2, state.step_size),
        rises=jnp.where(is_due, 0, state.rises),
        last_best_loss=jnp.where(is_due, state.best_loss, state.last_best_loss),
        was_halved=jnp.where(is_due, halve, state.was_halved),
    )
    return state, _where(halve, state.best_gradient, gradient)


def checkpoint_intervals(iterations: int) -> list[int]:
    """Returns, for each iteration, how long ago the last checkpoint was, or 0.

    It is 0 where no checkpoint follows the iteration. Checkpoints are at ⌈p_j N⌉ of N
    iterations, with p_0 = 0, p_1 = 0.22 and p_(j+1) = p_j + max(p_j − p_(j−1) − 0.03,
    0.06).
    """
    intervals = [0] * iterations
    last, percent, growth = 0, 22, 22
    while percent <= 100:
        checkpoint = -(-percent * iterations // 100)
        if checkpoint > last:
            intervals[checkpoint - 1] = checkpoint - last
            last = checkpoint
        growth = max(growth - 3, 6)
        percent += growth
    return intervals


def _where(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """Chooses between images, or values, for each example `[B]`."""
    return jnp.where(condition.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _random_start(
    images: jax.Array, budget: jax.typing.ArrayLike, keys: jax.Array
) -> jax.Array:
    """Adds uniform noise within the budget, and projects."""

    def uniform(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, images.shape[1:], images.dtype, -1, 1)

    noise = jnp.asarray(budget, images.dtype) * jax.vmap(uniform)(keys)
    return linf_box(images, budget)(images + noise, images)


ATTACKS: dict[str, Attack] = {"FGSM": fgsm, "PGD": pgd, "APGD-CE": apgd}
"""Every attack by name, the weakest first."""
