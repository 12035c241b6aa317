"""What is measured of a batch: sums over its examples, on all devices."""

import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax.methods import Losses, Outputs
from da_jax.training.draw import Drawn
from da_jax.training.state import Metrics, Problem, TrainState


def train_metrics(
    problem: Problem,
    state: TrainState,
    losses: Losses,
    logits: jax.Array,
    taught: Outputs | None,
    drawn: Drawn,
) -> Metrics:
    """Of the student's `logits` `[B, K]` and its loss terms, before it has learned.

    The disagreement after the ascent is that of these logits and what is `taught`;
    both disagreements, and what α is multiplied by, count only where the batch is
    augmented.
    """
    labels = drawn.labels
    values = {name: jnp.full(labels.shape, loss) for name, loss in losses.items()}
    values["loss"] = jnp.sum(jnp.stack(list(values.values())), axis=0)
    values["finite"] = jnp.isfinite(values["loss"]).astype(problem.dtype)
    values["top1"] = _is_among_top(logits, labels, 1)
    everything = jnp.ones(labels.shape, bool)
    masks = dict.fromkeys(values, everything)
    if problem.augmentation is not None:
        assert taught is not None, "an augmentation has a teacher"
        augmented = jnp.broadcast_to(drawn.coin, labels.shape)
        values["augmented"] = augmented.astype(jnp.float32)
        values["disagreement_before"] = jnp.full(
            labels.shape, drawn.ascent.initial_disagreement
        )
        values["disagreement_after"] = problem.augmentation.distance(
            logits, taught.logits
        )
        values["ascent_scale"] = jnp.full(labels.shape, state.ascent_scale)
        masks |= dict.fromkeys(values.keys() - masks.keys(), augmented)
        masks["augmented"] = everything
    metrics = {
        name: Average.from_model_output(value, mask=masks[name])
        for name, value in values.items()
    }
    return _over_devices(problem, metrics)


def eval_metrics(
    problem: Problem, logits: jax.Array, labels: jax.Array, counts: jax.Array
) -> Metrics:
    """Of logits `[B, K]` and labels `[B]`, where `counts` `[B]` says that they do."""
    values = {
        "top1": _is_among_top(logits, labels, 1),
        "top5": _is_among_top(logits, labels, 5),
        "loss": optax.softmax_cross_entropy_with_integer_labels(logits, labels),
    }
    metrics = {
        name: Average.from_model_output(value, mask=counts)
        for name, value in values.items()
    }
    return _over_devices(problem, metrics)


def _is_among_top(logits: jax.Array, labels: jax.Array, count: int) -> jax.Array:
    """Whether the label is among the `count` largest logits; `[B, K]` to `[B]`."""
    _, largest = jax.lax.top_k(logits, min(count, logits.shape[-1]))
    return jnp.any(largest == labels[:, None], axis=-1).astype(jnp.float32)


def _over_devices(problem: Problem, metrics: Metrics) -> Metrics:
    if problem.axis_name is None:
        return metrics
    return jax.lax.psum(metrics, problem.axis_name)
