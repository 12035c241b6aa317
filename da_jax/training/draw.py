"""What a training step draws from the training set: a batch, its views and its coin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from da_jax.augmentations import disagreement
from da_jax.augmentations.disagreement import Ascent
from da_jax.data import Examples
from da_jax.data.randaugment import randaugment
from da_jax.methods.interface import device_share
from da_jax.training.state import (
    BATCH,
    COIN,
    NOISE,
    STRONG,
    Hyperparameters,
    Problem,
    TrainState,
)


class Drawn(NamedTuple):
    """This device's share of a batch.

    Attributes:
      ascent: its images, whose ascent hasn't started.
      labels: int `[B]`.
      indices: int `[B]`, where in the training set they are.
      coin: whether the batch is to be augmented.
      strong: another view of the same examples, `[B, H, W, C]`, where the method learns
        from one.
    """

    ascent: Ascent
    labels: jax.Array
    indices: jax.Array
    coin: jax.Array
    strong: jax.Array | None = None

    @property
    def views(self) -> list[jax.Array]:
        """The images, where their ascent has come to, and the strong view if any."""
        moved = self.ascent.images
        return [moved] if self.strong is None else [moved, self.strong]


def draw(
    problem: Problem,
    state: TrainState,
    examples: Examples,
    order: jax.Array,
    position: jax.Array,
    hyperparameters: Hyperparameters,
    batch_size: int,
) -> Drawn:
    """The batch of one step, before its ascent.

    Args:
      problem: what is trained.
      state: whose step and seed decide every random choice.
      examples: the whole training set, uint8 `[N, H, W, C]` and `[N]`.
      order: `[N]`, of this epoch.
      position: where in `order` the batch starts.
      hyperparameters: the run's numbers.
      batch_size: of the global batch.
    """
    indices = jax.lax.dynamic_slice_in_dim(order, position, batch_size)
    indices = device_share(indices, problem.axis_name)
    stored = jnp.asarray(examples.images)[indices]
    preprocessing = problem.preprocessing
    augmented = preprocessing.augment(
        _example_keys(problem, state, BATCH, len(indices)), stored
    )
    images = preprocessing.normalize(augmented, problem.dtype)
    coin = jnp.zeros((), bool)
    if problem.augmentation is not None:
        probability = hyperparameters.ascent_probability
        coin = jax.random.bernoulli(step_key(state, COIN), probability)
        if problem.augmentation.random_init:
            images = jnp.where(coin, noise(problem, state, images), images)
    return Drawn(
        ascent=disagreement.start(images, state.batch_stats),
        labels=jnp.asarray(examples.labels)[indices],
        indices=indices,
        coin=coin,
        strong=_strong_view(problem, state, stored),
    )


def _strong_view(
    problem: Problem, state: TrainState, stored: jax.Array
) -> jax.Array | None:
    """Another crop and flip of uint8 `[B, H, W, C]`, and RandAugment on it."""
    if not problem.method.strong_view:
        return None
    keys = _example_keys(problem, state, STRONG, len(stored))
    crop_keys, view_keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    images = randaugment(view_keys, problem.preprocessing.augment(crop_keys, stored))
    return problem.preprocessing.normalize(images, problem.dtype)


def noise(problem: Problem, state: TrainState, images: jax.Array) -> jax.Array:
    """Uniform(-1, 1) noise of the shape of this device's `images` `[B, H, W, C]`."""

    def one(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, images.shape[1:], images.dtype, -1.0, 1.0)

    return jax.vmap(one)(_example_keys(problem, state, NOISE, len(images)))


def step_key(state: TrainState, purpose: int) -> jax.Array:
    """The key of this step for one of the purposes in `state`."""
    return jax.random.fold_in(state.key(purpose), state.step)


def _example_keys(
    problem: Problem, state: TrainState, purpose: int, count: int
) -> jax.Array:
    """A key each for this device's `count` examples of the batch."""
    if problem.axis_name is not None:
        count *= jax.lax.axis_size(problem.axis_name)
    keys = jax.random.split(step_key(state, purpose), count)
    return device_share(keys, problem.axis_name)
