"""Metrics of a batch: sums over its examples, on all devices."""

import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax.augmentations import Augmented
from da_jax.losses import Losses
from da_jax.models.forward import Outputs
from da_jax.training.state import Metrics, Task


def train_metrics(
    task: Task,
    losses: Losses,
    logits: jax.Array,
    teacher_outputs: Outputs | None,
    augmented: Augmented,
) -> Metrics:
    """Measures a training batch before the update.

    Args:
      task: what is trained.
      losses: its terms.
      logits: the student's, `[B, K]`.
      teacher_outputs: for the same images, or None without a teacher.
      augmented: the batch.
    """
    labels = augmented.batch.labels
    values = {name: jnp.full(labels.shape, loss) for name, loss in losses.items()}
    values["loss"] = jnp.sum(jnp.stack(list(values.values())), axis=0)
    values["finite"] = jnp.isfinite(values["loss"]).astype(task.dtype)
    values["top1"] = _is_in_top(logits, labels, 1)
    of_augmentation = task.augmentation.metrics(
        augmented.measurements,
        logits,
        None if teacher_outputs is None else teacher_outputs.logits,
    )
    everything = jnp.ones(labels.shape, bool)
    masked = {name: (value, everything) for name, value in values.items()}
    metrics = {
        name: Average.from_model_output(value, mask=mask)
        for name, (value, mask) in (masked | of_augmentation).items()
    }
    return _over_devices(task, metrics)


def eval_metrics(
    task: Task, logits: jax.Array, labels: jax.Array, mask: jax.Array
) -> Metrics:
    """Measures logits `[B, K]` against labels `[B]` where `mask` `[B]` is true."""
    values = {
        "top1": _is_in_top(logits, labels, 1),
        "top5": _is_in_top(logits, labels, 5),
        "loss": optax.softmax_cross_entropy_with_integer_labels(logits, labels),
    }
    metrics = {
        name: Average.from_model_output(value, mask=mask)
        for name, value in values.items()
    }
    return _over_devices(task, metrics)


def _is_in_top(logits: jax.Array, labels: jax.Array, count: int) -> jax.Array:
    """Whether the label is among the `count` largest logits; `[B, K]` to `[B]`."""
    _, largest = jax.lax.top_k(logits, min(count, logits.shape[-1]))
    return jnp.any(largest == labels[:, None], axis=-1).astype(jnp.float32)


def _over_devices(task: Task, metrics: Metrics) -> Metrics:
    return metrics if task.axis_name is None else jax.lax.psum(metrics, task.axis_name)
