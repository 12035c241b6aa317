"""Batches of the training set: order, crops and views, all from the run's seed."""

import jax
import jax.numpy as jnp

from da_jax.data import Examples
from da_jax.data.batch import Batch, device_share, example_keys
from da_jax.data.randaugment import randaugment
from da_jax.training.state import BATCH, EPOCH_ORDER, STRONG, Task, TrainState


def epoch_order(
    state: TrainState, steps_per_epoch: jax.typing.ArrayLike, num_examples: int
) -> jax.Array:
    """Returns the order `[num_examples]` of the examples in the state's epoch."""
    key = jax.random.fold_in(state.key(EPOCH_ORDER), state.step // steps_per_epoch)
    return jax.random.permutation(key, num_examples)


def sample_batch(
    task: Task,
    examples: Examples,
    position: jax.typing.ArrayLike,
    batch_size: int,
    state: TrainState,
    order: jax.Array,
) -> Batch:
    """Takes a batch from an epoch's order, cropped, flipped and normalised.

    Args:
      task: what is trained.
      examples: the training set, uint8 `[N, H, W, C]` and `[N]`.
      position: where in `order` the batch starts.
      batch_size: over all devices.
      state: its step and seed decide every random choice.
      order: `[N]`, of this epoch.

    Returns:
      This device's share of the batch.
    """
    indices = jax.lax.dynamic_slice_in_dim(order, position, batch_size)
    indices = device_share(indices, task.axis_name)
    stored = jnp.asarray(examples.images)[indices]
    keys = example_keys(state.step_key(BATCH), len(indices), task.axis_name)
    images = task.preprocessing.augment(keys, stored)
    return Batch(
        images=task.preprocessing.normalize(images, task.dtype),
        labels=jnp.asarray(examples.labels)[indices],
        indices=indices,
        strong=_strong_view(task, state, stored),
    )


def _strong_view(task: Task, state: TrainState, stored: jax.Array) -> jax.Array | None:
    """Another crop and flip of uint8 `[B, H, W, C]`, then RandAugment."""
    if not task.method.strong_view:
        return None
    keys = example_keys(state.step_key(STRONG), len(stored), task.axis_name)
    crop_keys, view_keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    images = randaugment(view_keys, task.preprocessing.augment(crop_keys, stored))
    return task.preprocessing.normalize(images, task.dtype)
