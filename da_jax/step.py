"""One training or evaluation step: pure functions of one device's share of the batch.

A training step draws its batch, moves it to where student and teacher disagree (by
chance) and lets the student learn from it: `draw`, `ascend`, `teach` and `learn`, of
one or several students at once in `train_step`.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax import disagreement, optim
from da_jax.datasets import Examples
from da_jax.disagreement import Ascent
from da_jax.methods import Outputs
from da_jax.state import (
    BATCH,
    COIN,
    NOISE,
    Hyperparameters,
    Metrics,
    Problem,
    TrainState,
    Variables,
)


def _share(problem: Problem, whole: jax.Array) -> jax.Array:
    """This device's part of something drawn for the whole batch, `[B, …]`."""
    if problem.axis_name is None:
        return whole
    size = whole.shape[0] // jax.lax.axis_size(problem.axis_name)
    start = jax.lax.axis_index(problem.axis_name) * size
    return jax.lax.dynamic_slice_in_dim(whole, start, size)


def draw(
    problem: Problem,
    state: TrainState,
    examples: Examples,
    order: jax.Array,
    position: jax.Array,
    hyperparameters: Hyperparameters,
    batch_size: int,
) -> tuple[Ascent, jax.Array, jax.Array]:
    """The batch of one step, before its ascent.

    Args:
      problem: what is trained.
      state: whose step and seed decide every random choice.
      examples: the whole training set, uint8 `[N, H, W, C]` and `[N]`.
      order: `[N]`, of this epoch.
      position: where in `order` the batch starts.
      hyperparameters: the run's numbers.
      batch_size: of the global batch.

    Returns:
      This device's share as an ascent that hasn't started, its labels, and the coin:
      whether the batch is to be augmented.
    """
    indices = jax.lax.dynamic_slice_in_dim(order, position, batch_size)
    indices = _share(problem, indices)
    keys = jax.random.split(_step_key(state, BATCH), batch_size)
    images = problem.preprocessing.augment(
        _share(problem, keys), jnp.asarray(examples.images)[indices]
    )
    images = problem.preprocessing.normalize(images, problem.dtype)
    coin = jnp.zeros((), bool)
    if problem.augmentation is not None:
        probability = hyperparameters.ascent_probability
        coin = jax.random.bernoulli(_step_key(state, COIN), probability)
        if problem.augmentation.random_init:
            noise_keys = jax.random.split(_step_key(state, NOISE), batch_size)
            noise = _noise(_share(problem, noise_keys), images)
            images = jnp.where(coin, noise, images)
    ascent = disagreement.start(images, state.batch_stats)
    return ascent, jnp.asarray(examples.labels)[indices], coin


def _step_key(state: TrainState, purpose: int) -> jax.Array:
    return jax.random.fold_in(state.key(purpose), state.step)


def _noise(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Uniform(-1, 1) noise of `images`' shape `[B, H, W, C]`, a key `[B]` for each."""

    def one(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, images.shape[1:], images.dtype, -1.0, 1.0)

    return jax.vmap(one)(keys)


def ascend(
    problem: Problem,
    params: Any,
    teacher: Variables | None,
    ascent: Ascent,
    hyperparameters: Hyperparameters,
) -> Ascent:
    """The ascent of a batch.

    Args:
      problem: what is trained; it has an augmentation.
      params: the student's parameters, which stay.
      teacher: the teacher's variables.
      ascent: where the batch is now.
      hyperparameters: the run's numbers.
    """
    assert problem.augmentation is not None, "only an augmentation has an ascent"

    def student(images: jax.Array, batch_stats: Any) -> tuple[jax.Array, Any]:
        outputs, batch_stats = _train_mode(problem.student, params, batch_stats, images)
        return outputs.logits, batch_stats

    def teacher_logits(images: jax.Array) -> jax.Array:
        return _eval_mode(problem.teacher, teacher, images).logits

    return disagreement.augment(
        problem.augmentation,
        ascent,
        student,
        teacher_logits,
        hyperparameters.ascent_learning_rate,
        problem.axis_name,
    )


def teach(
    problem: Problem, teacher: Variables | None, batches: Sequence[jax.Array]
) -> list[Outputs | None]:
    """The teacher's outputs for several students' images, in one pass.

    Args:
      problem: what is trained.
      teacher: the teacher's variables, or None.
      batches: images `[B, H, W, C]` of each student.

    Returns:
      A student's outputs each; None where there is no teacher.
    """
    if problem.teacher is None:
        return [None] * len(batches)
    taught = _eval_mode(problem.teacher, teacher, jnp.concatenate(batches))
    parts = [jnp.split(leaf, len(batches)) for leaf in jax.tree.leaves(taught)]
    structure = jax.tree.structure(taught)
    return [
        jax.tree.unflatten(structure, leaves) for leaves in zip(*parts, strict=True)
    ]


def learn(
    problem: Problem,
    state: TrainState,
    taught: Outputs | None,
    ascent: Ascent,
    labels: jax.Array,
    coin: jax.Array,
    hyperparameters: Hyperparameters,
) -> tuple[TrainState, Metrics]:
    """The student learns from a batch that has been moved, or not.

    Args:
      problem: what is trained.
      state: the student before.
      taught: the teacher's outputs for the moved images, or None.
      ascent: where the batch has come to.
      labels: int `[B]`, of this device's share.
      coin: whether the batch was augmented.
      hyperparameters: the run's numbers.

    Returns:
      The student after, and this batch's metrics, summed over the devices.
    """
    images = ascent.images

    def loss(params: Any) -> tuple[jax.Array, tuple[Any, dict, jax.Array]]:
        learned, batch_stats = _train_mode(
            problem.student, params, ascent.batch_stats, images
        )
        losses = problem.method.losses(learned, taught, labels, hyperparameters.method)
        total = jnp.sum(jnp.stack(list(losses.values())))
        return total, (batch_stats, losses, learned.logits)

    gradients, (batch_stats, losses, logits) = jax.grad(loss, has_aux=True)(
        state.params
    )
    if problem.axis_name is not None:
        gradients = jax.lax.pmean(gradients, problem.axis_name)
    learning_rate = optim.step_decay(
        state.step,
        hyperparameters.learning_rate,
        hyperparameters.decay_rate,
        hyperparameters.decay_steps,
    )
    optimizer = optim.sgd(
        learning_rate, hyperparameters.momentum, hyperparameters.weight_decay
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    metrics = _train_metrics(problem, losses, logits, taught, labels, ascent, coin)
    return state, metrics


def train_step(
    problem: Problem,
    states: Sequence[TrainState],
    teacher: Variables | None,
    examples: Examples,
    orders: Sequence[jax.Array],
    position: jax.Array,
    hyperparameters: Hyperparameters,
    batch_size: int,
) -> tuple[tuple[TrainState, ...], tuple[Metrics, ...]]:
    """A whole training step of one or several students, each with its batch and coin.

    Args:
      problem: what is trained.
      states: the students before.
      teacher: the teacher's variables, shared by all, or None.
      examples: the whole training set.
      orders: of this epoch, a student's each.
      position: where in its order a batch starts.
      hyperparameters: the run's numbers.
      batch_size: of a student's global batch.

    Returns:
      The students after, and their metrics.
    """
    drawn = [
        draw(problem, state, examples, order, position, hyperparameters, batch_size)
        for state, order in zip(states, orders, strict=True)
    ]
    ascents = [
        _ascend_on_heads(problem, state, teacher, ascent, coin, hyperparameters)
        for state, (ascent, _, coin) in zip(states, drawn, strict=True)
    ]
    taught = teach(problem, teacher, [ascent.images for ascent in ascents])
    learned = [
        learn(problem, state, outputs, ascent, labels, coin, hyperparameters)
        for state, outputs, ascent, (_, labels, coin) in zip(
            states, taught, ascents, drawn, strict=True
        )
    ]
    return tuple(after for after, _ in learned), tuple(
        metrics for _, metrics in learned
    )


def _ascend_on_heads(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    ascent: Ascent,
    coin: jax.Array,
    hyperparameters: Hyperparameters,
) -> Ascent:
    if problem.augmentation is None:
        return ascent

    def heads(ascent: Ascent) -> Ascent:
        return ascend(problem, state.params, teacher, ascent, hyperparameters)

    return jax.lax.cond(coin, heads, lambda tails: tails, ascent)


def eval_step(
    problem: Problem,
    variables: Variables,
    examples: Examples,
    position: jax.typing.ArrayLike,
    batch_size: int,
) -> Metrics:
    """The student's metrics on `batch_size` examples from `position` on.

    What lies beyond the end of the examples doesn't count, so that every example counts
    once whatever the batch size and the number of devices.
    """
    indices = _share(problem, jnp.arange(batch_size) + position)
    counts = indices < len(examples.labels)
    indices = jnp.minimum(indices, len(examples.labels) - 1)
    labels = jnp.asarray(examples.labels)[indices]
    images = problem.preprocessing.normalize(
        jnp.asarray(examples.images)[indices], problem.dtype
    )
    logits = _eval_mode(problem.student, variables, images).logits
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


def _train_mode(
    network: nn.Module, params: Any, batch_stats: Any, images: jax.Array
) -> tuple[Outputs, Any]:
    variables = {"params": params, "batch_stats": batch_stats}
    outputs, moved = network.apply(
        variables, images, train=True, mutable=["batch_stats"]
    )
    return Outputs(*outputs), moved["batch_stats"]


def _eval_mode(
    network: nn.Module | None, variables: Variables | None, images: jax.Array
) -> Outputs:
    assert network is not None and variables is not None, "there is no such network"
    variables = jax.lax.stop_gradient(variables)  # images may be moved, weights not
    return Outputs(*network.apply(variables, images, train=False))


def _is_among_top(logits: jax.Array, labels: jax.Array, count: int) -> jax.Array:
    """Whether the label is among the `count` largest logits; `[B, K]` to `[B]`."""
    _, largest = jax.lax.top_k(logits, min(count, logits.shape[-1]))
    return jnp.any(largest == labels[:, None], axis=-1).astype(jnp.float32)


def _train_metrics(
    problem: Problem,
    losses: dict[str, jax.Array],
    logits: jax.Array,
    taught: Outputs | None,
    labels: jax.Array,
    ascent: Ascent,
    coin: jax.Array,
) -> Metrics:
    values = {name: jnp.full(labels.shape, loss) for name, loss in losses.items()}
    values["loss"] = jnp.sum(jnp.stack(list(values.values())), axis=0)
    values["finite"] = jnp.isfinite(values["loss"]).astype(problem.dtype)
    values["top1"] = _is_among_top(logits, labels, 1)
    everything = jnp.ones(labels.shape, bool)
    masks = dict.fromkeys(values, everything)
    if problem.augmentation is not None:
        assert taught is not None, "an augmentation has a teacher"
        augmented = jnp.broadcast_to(coin, labels.shape)
        values["augmented"] = augmented.astype(jnp.float32)
        values["disagreement_before"] = jnp.full(
            labels.shape, ascent.initial_disagreement
        )
        values["disagreement_after"] = problem.augmentation.distance(
            logits, taught.logits
        )
        masks |= {"augmented": everything}
        masks |= dict.fromkeys(["disagreement_before", "disagreement_after"], augmented)
    metrics = {
        name: Average.from_model_output(value, mask=masks[name])
        for name, value in values.items()
    }
    return _over_devices(problem, metrics)


def _over_devices(problem: Problem, metrics: Metrics) -> Metrics:
    if problem.axis_name is None:
        return metrics
    return jax.lax.psum(metrics, problem.axis_name)
