"""White-box attacks in a box: images in, images with a larger cross-entropy out.

All of a batch is attacked at once, but each example by itself: nothing depends on which
others are in its batch. Pixels and the budget ε, how far each may go, are in [0, 1].
B = {x' : |x' − x| ≤ ε} ∩ [0, 1] is the box, P brings images back into it, and f is the
cross-entropy.

References:
  Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015.
  Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
  Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
  diverse parameter-free attacks, ICML 2020.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

LogitsFunction = Callable[[jax.Array], jax.Array]
"""Pixels `[B, H, W, C]` in [0, 1] to logits `[B, K]`, of a network in eval mode."""

Attack = Callable[
    [LogitsFunction, jax.Array, jax.Array, jax.typing.ArrayLike, jax.Array, int],
    jax.Array,
]
"""(logits, images, labels, budget, keys, iterations) to attacked images."""

PGD_REACH = 2.5
"""How many times ε the iterations of PGD could go in all, as Madry et al. have it."""

APGD_MOMENTUM = 0.75
"""α of Croce and Hein: the share of a step that isn't the last step's."""

APGD_RISES = 0.75
"""ρ of Croce and Hein: the share of iterations that must raise the loss."""


class Box(NamedTuple):
    """Where the pixels may be.

    Attributes:
      lower: the least that each may be, `[B, H, W, C]`.
      upper: the most.
    """

    lower: jax.Array
    upper: jax.Array

    def project(self, images: jax.Array) -> jax.Array:
        """The nearest images that are in the box."""
        return jnp.clip(images, self.lower, self.upper)


def box_around(images: jax.Array, budget: jax.typing.ArrayLike) -> Box:
    """All images that are at most `budget` from these in each pixel."""
    budget = jnp.asarray(budget, images.dtype)
    return Box(jnp.maximum(images - budget, 0), jnp.minimum(images + budget, 1))


def fgsm(
    logits: LogitsFunction,
    images: jax.Array,
    labels: jax.Array,
    budget: jax.typing.ArrayLike,
    keys: jax.Array | None = None,
    iterations: int = 1,
) -> jax.Array:
    """The fast gradient sign method: P(x + ε sign ∇f(x)).

    Args:
      logits: of the network that is attacked.
      images: pixels `[B, H, W, C]` in [0, 1].
      labels: int `[B]`.
      budget: ε.
      keys: not used.
      iterations: not used; it is one.
    """
    del keys, iterations
    _, gradient, _ = _gradient(logits, images, labels)
    budget = jnp.asarray(budget, images.dtype)
    return box_around(images, budget).project(images + budget * jnp.sign(gradient))


def pgd(
    logits: LogitsFunction,
    images: jax.Array,
    labels: jax.Array,
    budget: jax.typing.ArrayLike,
    keys: jax.Array,
    iterations: int = 20,
) -> jax.Array:
    """Projected gradient descent: from a random point x ← P(x + η sign ∇f(x)).

    The step η is 2.5 ε over the iterations, and the last image is the attack's.

    Args:
      logits: of the network that is attacked.
      images: pixels `[B, H, W, C]` in [0, 1].
      labels: int `[B]`.
      budget: ε.
      keys: of each example's start, `[B]`.
      iterations: how many steps.
    """
    box = box_around(images, budget)
    step_size = PGD_REACH * jnp.asarray(budget, images.dtype) / iterations

    def body(_: jax.Array, moved: jax.Array) -> jax.Array:
        _, gradient, _ = _gradient(logits, moved, labels)
        return box.project(moved + step_size * jnp.sign(gradient))

    return jax.lax.fori_loop(
        0, iterations, body, _random_start(box, images, budget, keys)
    )


class _Search(NamedTuple):
    """Where APGD is, for each example; images and gradients `[B, H, W, C]`, else `[B]`.

    Attributes:
      images: x(k).
      previous: x(k−1).
      loss: f(x(k)).
      gradient: ∇f(x(k)).
      best_images: those of the largest loss so far.
      best_loss: that loss.
      best_gradient: its gradient.
      adversarial: those of the largest loss that were misclassified, if any were yet.
      adversarial_loss: their loss.
      is_wrong: whether any were.
      step_size: η.
      rises: how many iterations since the last checkpoint raised the loss.
      best_loss_then: the best loss at the last checkpoint.
      was_halved: whether η was halved at it.
    """

    images: jax.Array
    previous: jax.Array
    loss: jax.Array
    gradient: jax.Array
    best_images: jax.Array
    best_loss: jax.Array
    best_gradient: jax.Array
    adversarial: jax.Array
    adversarial_loss: jax.Array
    is_wrong: jax.Array
    step_size: jax.Array
    rises: jax.Array
    best_loss_then: jax.Array
    was_halved: jax.Array


def apgd(
    logits: LogitsFunction,
    images: jax.Array,
    labels: jax.Array,
    budget: jax.typing.ArrayLike,
    keys: jax.Array,
    iterations: int = 20,
) -> jax.Array:
    """Auto-PGD on the cross-entropy, Algorithm 1 of Croce and Hein, from one start.

      z = P(x(k) + η sign ∇f(x(k)))
      x(k+1) = P(x(k) + α (z − x(k)) + (1 − α) (x(k) − x(k−1)))

    η starts at 2 ε. At checkpoints it is halved, and x goes back to the best image so
    far, where fewer than ρ of the iterations since the last checkpoint raised the loss,
    or where neither η nor the best loss has changed since. The attack's image is that
    of the largest loss, among those misclassified if there are any (the authors' code
    takes the newest of these). The start is PGD's, uniform in the box.

    Args:
      logits: of the network that is attacked.
      images: pixels `[B, H, W, C]` in [0, 1].
      labels: int `[B]`.
      budget: ε.
      keys: of each example's start, `[B]`.
      iterations: how many steps; there is one gradient more.
    """
    box = box_around(images, budget)

    def iterate(
        search: _Search, now: tuple[jax.Array, jax.Array]
    ) -> tuple[_Search, None]:
        momentum, interval = now
        search = _advance(search, logits, labels, box, momentum)
        checked = _check(search, interval)
        return jax.tree.map(
            lambda one, other: jnp.where(interval > 0, one, other), checked, search
        ), None

    intervals = checkpoint_intervals(iterations)
    momenta = jnp.full(iterations, APGD_MOMENTUM, images.dtype).at[:1].set(1)
    start = _start(logits, labels, _random_start(box, images, budget, keys), budget)
    search, _ = jax.lax.scan(iterate, start, (momenta, jnp.array(intervals)))
    return search.adversarial


def checkpoint_intervals(iterations: int) -> list[int]:
    """For each iteration: if a checkpoint follows, how long after the last one; or 0.

    Checkpoints are at ⌈p_j N⌉ of N iterations, with p_0 = 0, p_1 = 0.22 and
    p_(j+1) = p_j + max(p_j − p_(j−1) − 0.03, 0.06).
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


def _start(
    logits: LogitsFunction,
    labels: jax.Array,
    images: jax.Array,
    budget: jax.typing.ArrayLike,
) -> _Search:
    loss, gradient, is_wrong = _gradient(logits, images, labels)
    return _Search(
        images=images,
        previous=images,
        loss=loss,
        gradient=gradient,
        best_images=images,
        best_loss=loss,
        best_gradient=gradient,
        adversarial=images,
        adversarial_loss=loss,
        is_wrong=is_wrong,
        step_size=jnp.full_like(loss, 2 * jnp.asarray(budget, loss.dtype)),
        rises=jnp.zeros(loss.shape, jnp.int32),
        best_loss_then=loss,
        was_halved=jnp.zeros(loss.shape, bool),
    )


def _advance(
    search: _Search,
    logits: LogitsFunction,
    labels: jax.Array,
    box: Box,
    momentum: jax.Array,
) -> _Search:
    """One step, and the best image after it."""
    here = search.images
    step = _each(search.step_size) * jnp.sign(search.gradient)
    target = box.project(here + step)
    images = box.project(
        here + momentum * (target - here) + (1 - momentum) * (here - search.previous)
    )
    loss, gradient, is_wrong = _gradient(logits, images, labels)
    is_best = loss > search.best_loss
    is_stronger = (is_wrong == search.is_wrong) & (loss > search.adversarial_loss)
    is_adversarial = is_stronger | (is_wrong & ~search.is_wrong)
    return search._replace(
        images=images,
        previous=here,
        loss=loss,
        gradient=gradient,
        best_images=jnp.where(_each(is_best), images, search.best_images),
        best_loss=jnp.where(is_best, loss, search.best_loss),
        best_gradient=jnp.where(_each(is_best), gradient, search.best_gradient),
        adversarial=jnp.where(_each(is_adversarial), images, search.adversarial),
        adversarial_loss=jnp.where(is_adversarial, loss, search.adversarial_loss),
        is_wrong=search.is_wrong | is_wrong,
        rises=search.rises + (loss > search.loss),
    )


def _check(search: _Search, interval: jax.Array) -> _Search:
    """A checkpoint, `interval` iterations after the last one."""
    oscillates = search.rises < APGD_RISES * interval
    is_stuck = ~search.was_halved & (search.best_loss == search.best_loss_then)
    halve = oscillates | is_stuck
    return search._replace(
        images=jnp.where(_each(halve), search.best_images, search.images),
        loss=jnp.where(halve, search.best_loss, search.loss),
        gradient=jnp.where(_each(halve), search.best_gradient, search.gradient),
        step_size=jnp.where(halve, search.step_size / 2, search.step_size),
        rises=jnp.zeros_like(search.rises),
        best_loss_then=search.best_loss,
        was_halved=halve,
    )


def _each(values: jax.Array) -> jax.Array:
    """`[B]` as `[B, 1, 1, 1]`, to go with images."""
    return values[:, None, None, None]


def _gradient(
    logits: LogitsFunction, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Each example's cross-entropy, its gradient, and whether it is misclassified."""

    def loss(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = logits(images)
        losses = optax.softmax_cross_entropy_with_integer_labels(found, labels)
        return losses, found.argmax(axis=-1) != labels

    losses, pull_back, is_wrong = jax.vjp(loss, images, has_aux=True)
    (gradient,) = pull_back(jnp.ones_like(losses))
    return losses, gradient, is_wrong


def _random_start(
    box: Box, images: jax.Array, budget: jax.typing.ArrayLike, keys: jax.Array
) -> jax.Array:
    """Uniform within the budget, brought into the box."""

    def uniform(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, images.shape[1:], images.dtype, -1, 1)

    noise = jnp.asarray(budget, images.dtype) * jax.vmap(uniform)(keys)
    return box.project(images + noise)


ATTACKS: dict[str, Attack] = {"FGSM": fgsm, "PGD": pgd, "APGD-CE": apgd}
"""Every attack by name, the weakest first."""
