"""One training or evaluation step: pure functions of one device's share of the batch.

A training step draws its batch, moves it to where student and teacher disagree (by
chance) and lets the student learn from it. `train_step` is all of it in one program;
its parts, `draw`, `ascend` and `learn`, are programs of their own where that is faster.

What shapes the program is in `Problem`; what is only a number is in `Hyperparameters`,
an argument of the program, so that another value needs no compilation.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu.metrics import Average

from da_jax import disagreement, optim
from da_jax.datasets import Examples
from da_jax.disagreement import Ascent, DisagreementAugmentation
from da_jax.methods import Method, Outputs
from da_jax.models.layers import Dtype
from da_jax.preprocessing import Preprocessing

Metrics = dict[str, Average]
Variables = dict[str, Any]
"""A network's `params` and `batch_stats`."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is trained, and how: all that a step's code depends on.

    Attributes:
      student: the network that learns.
      teacher: the network that it learns from, or None.
      method: the distillation method.
      augmentation: the ascent, or None for none.
      preprocessing: the data set's.
      dtype: of the images.
      axis_name: the pmapped axis the batch is split over, or None.
    """

    student: nn.Module
    teacher: nn.Module | None
    method: Method
    augmentation: DisagreementAugmentation | None
    preprocessing: Preprocessing
    dtype: Dtype = jnp.float32
    axis_name: str | None = None


class Hyperparameters(flax.struct.PyTreeNode):
    """The numbers of a run.

    Attributes:
      method: the method's weights by name.
      ascent_learning_rate: α, in units of normalised pixels.
      ascent_probability: p, by which a batch is augmented.
      learning_rate: of the student, at the start.
      decay_rate: its factor at each mark.
      decay_steps: int `[marks]`, see `optim.step_decay`.
      momentum: of SGD.
      weight_decay: of SGD.
    """

    method: Mapping[str, jax.typing.ArrayLike]
    ascent_learning_rate: jax.typing.ArrayLike
    ascent_probability: jax.typing.ArrayLike
    learning_rate: jax.typing.ArrayLike
    decay_rate: jax.typing.ArrayLike
    decay_steps: jax.typing.ArrayLike
    momentum: jax.typing.ArrayLike
    weight_decay: jax.typing.ArrayLike


class TrainState(flax.struct.PyTreeNode):
    """The student in training.

    Attributes:
      step: how many steps were taken.
      seed: of everything random in the run.
      params: the student's parameters.
      batch_stats: the student's running statistics.
      opt_state: the optimiser's momentum.
    """

    step: jax.Array
    seed: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState

    def key(self, purpose: int) -> jax.Array:
        """The random key of this run for one of the purposes below."""
        return jax.random.fold_in(jax.random.key(self.seed), purpose)


INITIALIZATION, EPOCH_ORDER, BATCH, COIN, NOISE = range(5)
"""Purposes of random keys; each gets a stream of its own."""


def create_train_state(problem: Problem, seed: jax.typing.ArrayLike) -> TrainState:
    """A student that has not learned yet, initialised from `seed`."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.uint32),
        params={},
        batch_stats={},
        opt_state=(),
    )
    # Initialisation needs no statistics of other devices, so no axis either.
    student = problem.student.clone(axis_name=None)
    images = jnp.zeros((1, 32, 32, 3), problem.dtype)
    variables = student.init(state.key(INITIALIZATION), images)
    return state.replace(
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optim.sgd(0.0, 0.0, 0.0).init(variables["params"]),
    )


def epoch_order(state: TrainState, epoch: jax.Array, num_examples: int) -> jax.Array:
    """The order `[num_examples]` in which `epoch` (from 0) sees the examples."""
    key = jax.random.fold_in(state.key(EPOCH_ORDER), epoch)
    return jax.random.permutation(key, num_examples)


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
    *,
    whole: bool,
) -> Ascent:
    """The `whole` ascent of a batch, or one step of it.

    Args:
      problem: what is trained; it has an augmentation.
      params: the student's parameters, which stay.
      teacher: the teacher's variables.
      ascent: where the batch is now.
      hyperparameters: the run's numbers.
      whole: all the steps rather than one.
    """
    assert problem.augmentation is not None, "only an augmentation has an ascent"

    def student(images: jax.Array, batch_stats: Any) -> tuple[jax.Array, Any]:
        outputs, batch_stats = _train_mode(problem.student, params, batch_stats, images)
        return outputs.logits, batch_stats

    def teach(images: jax.Array) -> jax.Array:
        return _eval_mode(problem.teacher, teacher, images).logits

    move = disagreement.augment if whole else disagreement.ascent_step
    return move(
        problem.augmentation,
        ascent,
        student,
        teach,
        hyperparameters.ascent_learning_rate,
        problem.axis_name,
    )


def learn(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    ascent: Ascent,
    labels: jax.Array,
    coin: jax.Array,
    hyperparameters: Hyperparameters,
) -> tuple[TrainState, Metrics]:
    """The student learns from a batch that has been moved, or not.

    Args:
      problem: what is trained.
      state: the student before.
      teacher: the teacher's variables, or None.
      ascent: where the batch has come to.
      labels: int `[B]`, of this device's share.
      coin: whether the batch was augmented.
      hyperparameters: the run's numbers.

    Returns:
      The student after, and this batch's metrics, summed over the devices.
    """
    images = jax.lax.stop_gradient(ascent.images)
    taught = None
    if problem.teacher is not None:
        taught = _eval_mode(problem.teacher, teacher, images)

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
    state: TrainState,
    teacher: Variables | None,
    examples: Examples,
    order: jax.Array,
    position: jax.Array,
    hyperparameters: Hyperparameters,
    batch_size: int,
) -> tuple[TrainState, Metrics]:
    """A whole training step; arguments as of `draw` and `learn`."""
    ascent, labels, coin = draw(
        problem, state, examples, order, position, hyperparameters, batch_size
    )
    if problem.augmentation is not None:

        def heads(ascent: Ascent) -> Ascent:
            return ascend(
                problem, state.params, teacher, ascent, hyperparameters, whole=True
            )

        ascent = jax.lax.cond(coin, heads, lambda tails: tails, ascent)
    return learn(problem, state, teacher, ascent, labels, coin, hyperparameters)


def eval_step(
    problem: Problem,
    variables: Variables,
    examples: Examples,
    position: jax.Array,
    batch_size: int,
) -> Metrics:
    """The student's metrics on `batch_size` examples from `position` on.

    What lies beyond the end of the examples doesn't count, so that every example counts
    once whatever the batch size and the number of devices.
    """
    indices = _share(problem, position + jnp.arange(batch_size))
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
