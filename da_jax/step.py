"""One training or evaluation step: pure functions of one device's share of the batch.

A training step draws its batch, moves it to where student and teacher disagree (by
chance) and lets the student learn from it: `draw`, `ascend`, `teach` and `learn`, of
one or several students at once in `train_step`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax import disagreement, optim
from da_jax.datasets import Examples
from da_jax.disagreement import Ascent
from da_jax.methods import Batch, Losses, Outputs
from da_jax.methods.interface import device_share
from da_jax.state import (
    BATCH,
    COIN,
    METHOD,
    NOISE,
    Hyperparameters,
    Metrics,
    Problem,
    TrainState,
    Variables,
)

TASK = "loss_ce"
"""The term that isn't distillation."""


class Drawn(NamedTuple):
    """This device's share of a batch.

    Attributes:
      ascent: its images, whose ascent hasn't started.
      labels: int `[B]`.
      indices: int `[B]`, where in the training set they are.
      coin: whether the batch is to be augmented.
    """

    ascent: Ascent
    labels: jax.Array
    indices: jax.Array
    coin: jax.Array


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
    keys = jax.random.split(_step_key(state, BATCH), batch_size)
    images = problem.preprocessing.augment(
        device_share(keys, problem.axis_name), jnp.asarray(examples.images)[indices]
    )
    images = problem.preprocessing.normalize(images, problem.dtype)
    coin = jnp.zeros((), bool)
    if problem.augmentation is not None:
        probability = hyperparameters.ascent_probability
        coin = jax.random.bernoulli(_step_key(state, COIN), probability)
        if problem.augmentation.random_init:
            images = jnp.where(coin, _noise(problem, state, images), images)
    return Drawn(
        ascent=disagreement.start(images, state.batch_stats),
        labels=jnp.asarray(examples.labels)[indices],
        indices=indices,
        coin=coin,
    )


def _step_key(state: TrainState, purpose: int) -> jax.Array:
    return jax.random.fold_in(state.key(purpose), state.step)


def _noise(problem: Problem, state: TrainState, images: jax.Array) -> jax.Array:
    """Uniform(-1, 1) noise of the shape of this device's `images` `[B, H, W, C]`."""
    batch_size = len(images)
    if problem.axis_name is not None:
        batch_size *= jax.lax.axis_size(problem.axis_name)
    keys = jax.random.split(_step_key(state, NOISE), batch_size)

    def one(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, images.shape[1:], images.dtype, -1.0, 1.0)

    return jax.vmap(one)(device_share(keys, problem.axis_name))


def ascend(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> Drawn:
    """The ascent of a batch, whatever its coin says.

    Args:
      problem: what is trained; it has an augmentation.
      state: the student, whose parameters stay.
      teacher: the teacher's variables.
      drawn: the batch.
      hyperparameters: the run's numbers.
    """
    assert problem.augmentation is not None, "only an augmentation has an ascent"

    def student(images: jax.Array, batch_stats: Any) -> tuple[jax.Array, Any]:
        outputs, batch_stats = _train_mode(
            problem.student, state.params, batch_stats, images
        )
        return outputs.logits, batch_stats

    def teacher_logits(images: jax.Array) -> jax.Array:
        return _eval_mode(problem.teacher, teacher, images).logits

    ascent = disagreement.augment(
        problem.augmentation,
        drawn.ascent,
        student,
        teacher_logits,
        drawn.labels,
        hyperparameters.ascent_learning_rate,
        problem.axis_name,
        radius=hyperparameters.ascent_radius,
        noise=lambda: _noise(problem, state, drawn.ascent.images),
    )
    return drawn._replace(ascent=ascent)


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
    if problem.method.teacher_train:  # each by its own batch
        assert teacher is not None, "a method that looks at a teacher has one"
        params, batch_stats = jax.lax.stop_gradient(
            (teacher["params"], teacher["batch_stats"])
        )
        return [
            _train_mode(problem.teacher, params, batch_stats, images)[0]
            for images in batches
        ]
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
    teacher: Variables | None,
    examples: Examples,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> tuple[TrainState, Metrics]:
    """The student learns from a batch that has been moved, or not.

    Args:
      problem: what is trained.
      state: the student before.
      taught: the teacher's outputs for the moved images, or None.
      teacher: the teacher's variables, or None.
      examples: the whole training set.
      drawn: the batch, its ascent where it has come to.
      hyperparameters: the run's numbers.

    Returns:
      The student after, and this batch's metrics, summed over the devices.
    """
    norms = []
    if problem.teacher is not None and teacher is not None:
        params = jax.lax.stop_gradient(teacher["params"])
        norms = problem.teacher.norms_before_relu(params)
    epoch = state.step // jnp.asarray(hyperparameters.steps_per_epoch) + 1

    def loss(
        learned: Any,
    ) -> tuple[optim.Gradients, tuple[Any, Any, Losses, jax.Array]]:
        student, batch_stats = _train_mode(
            problem.student,
            learned["student"],
            drawn.ascent.batch_stats,
            drawn.ascent.images,
        )
        batch = Batch(
            student=student,
            teacher=taught,
            labels=drawn.labels,
            indices=drawn.indices,
            train_labels=jnp.asarray(examples.labels),
            epoch=epoch.astype(problem.dtype),
            teacher_norms=norms,
        )
        losses, auxiliary = problem.method.apply(
            _with_params(state.auxiliary, learned["method"]),
            batch,
            hyperparameters.method,
            mutable=[name for name in state.auxiliary if name != "params"],
            rngs={"method": _step_key(state, METHOD)},
        )
        others = [value for name, value in losses.items() if name != TASK]
        terms = optim.Gradients(
            losses.get(TASK, jnp.zeros(())), sum(others, jnp.zeros(()))
        )
        return terms, (batch_stats, auxiliary, losses, student.logits)

    terms, pull_back, (batch_stats, auxiliary, losses, logits) = jax.vjp(
        loss, state.learned, has_aux=True
    )
    none, all_of_it = (fill(terms.task) for fill in (jnp.zeros_like, jnp.ones_like))
    gradients: Any
    if problem.optimizer == "dot":
        (of_task,) = pull_back(optim.Gradients(all_of_it, none))
        (of_distillation,) = pull_back(optim.Gradients(none, all_of_it))
        gradients = optim.Gradients(of_task, of_distillation)
    else:
        (gradients,) = pull_back(optim.Gradients(all_of_it, all_of_it))
    if problem.axis_name is not None:
        gradients = jax.lax.pmean(gradients, problem.axis_name)
    learning_rate = optim.step_decay(
        state.step,
        hyperparameters.learning_rate,
        hyperparameters.decay_rate,
        hyperparameters.decay_steps,
    )
    optimizer = problem.create_optimizer(
        optim.Numbers(
            learning_rate,
            hyperparameters.momentum,
            hyperparameters.weight_decay,
            hyperparameters.dot_delta,
        )
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.learned)
    learned = optax.apply_updates(state.learned, updates)
    metrics = _train_metrics(problem, losses, logits, taught, drawn)
    state = state.replace(
        step=state.step + 1,
        params=learned["student"],
        batch_stats=batch_stats,
        auxiliary=_with_params({**state.auxiliary, **auxiliary}, learned["method"]),
        opt_state=opt_state,
    )
    return state, metrics


def _with_params(auxiliary: dict[str, Any], params: Any) -> dict[str, Any]:
    """A method's variables with these parameters, if it has any."""
    return {**auxiliary, "params": params} if "params" in auxiliary else auxiliary


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
    batches = [
        draw(problem, state, examples, order, position, hyperparameters, batch_size)
        for state, order in zip(states, orders, strict=True)
    ]
    batches = [
        _ascend_on_heads(problem, state, teacher, drawn, hyperparameters)
        for state, drawn in zip(states, batches, strict=True)
    ]
    taught = teach(problem, teacher, [drawn.ascent.images for drawn in batches])
    learned = [
        learn(problem, state, outputs, teacher, examples, drawn, hyperparameters)
        for state, outputs, drawn in zip(states, taught, batches, strict=True)
    ]
    return tuple(after for after, _ in learned), tuple(
        metrics for _, metrics in learned
    )


def _ascend_on_heads(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> Drawn:
    if problem.augmentation is None:
        return drawn

    def heads(drawn: Drawn) -> Drawn:
        return ascend(problem, state, teacher, drawn, hyperparameters)

    return jax.lax.cond(drawn.coin, heads, lambda tails: tails, drawn)


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
    indices = device_share(jnp.arange(batch_size) + position, problem.axis_name)
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
    losses: Losses,
    logits: jax.Array,
    taught: Outputs | None,
    drawn: Drawn,
) -> Metrics:
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
