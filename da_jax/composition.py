"""How several students' steps become programs: a composition.

- `parts`: draw, ascend and learn are programs of one student; the host looks at the
  coin that the device has thrown, and adds up the metrics. For CPUs, where XLA sends
  the convolutions inside a loop or a cond to a slow path (9.1 s against 3.4 s for
  resnet32x4 → resnet8x4).
- `unrolled`: one program with a `lax.cond` for each student, and one pass of the
  teacher over all their moved images.
- `vmapped`: one program of one batched step. Its conds are selects, so that every
  ascent is paid for, and its convolutions are grouped.

Their results are the same. A composition is given a problem and a `Pmap`, and gives a
`TrainSteps` for arguments that are on the devices: several steps on consecutive
batches. The last two make them one `lax.fori_loop`, whose length is an argument too.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from da_jax import step
from da_jax.datasets import Examples
from da_jax.disagreement import Ascent
from da_jax.state import Hyperparameters, Problem, TrainState, Variables
from da_jax.step import Metrics

Pmap = Callable[..., Callable[..., Any]]
"""(function, in_axes, static_last, …) to the function on every device."""

States = tuple[TrainState, ...]

TrainStep = Callable[..., tuple[States, tuple[Metrics, ...]]]
"""`step.train_step` of some problem."""

TrainSteps = Callable[..., tuple[States, tuple[Metrics, ...]]]
"""(states, teacher, examples, orders, first position, number of steps, hyperparameters,
batch_size) to the states after those steps, and the sums of their metrics."""

Evaluate = Callable[..., tuple[Metrics, ...]]
"""(networks, examples, batch_size) to the sums of each network's metrics."""


def unrolled(problem: Problem, pmap: Pmap) -> TrainSteps:
    """One program, with the students one after the other."""
    return _in_a_loop(functools.partial(step.train_step, problem), pmap)


def vmapped(problem: Problem, pmap: Pmap) -> TrainSteps:
    """One program, with the students as one more axis of everything."""

    def train_step(
        states: States,
        teacher: Variables | None,
        examples: Examples,
        orders: tuple[jax.Array, ...],
        *numbers: Any,
    ) -> tuple[States, tuple[Metrics, ...]]:
        def one(state: TrainState, order: jax.Array) -> tuple[TrainState, Metrics]:
            (state,), (metrics,) = step.train_step(
                problem, (state,), teacher, examples, (order,), *numbers
            )
            return state, metrics

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        stacked, metrics = jax.vmap(one)(stacked, jnp.stack(orders))
        return _unstack(stacked, len(states)), _unstack(metrics, len(states))

    return _in_a_loop(train_step, pmap)


def _in_a_loop(train_step: TrainStep, pmap: Pmap) -> TrainSteps:
    def train_steps(
        states: States,
        teacher: Variables | None,
        examples: Examples,
        orders: tuple[jax.Array, ...],
        position: jax.Array,
        num_steps: jax.Array,
        hyperparameters: Hyperparameters,
        batch_size: int,
    ) -> tuple[States, tuple[Metrics, ...]]:
        def one(states: States, position: jax.Array) -> Any:
            return train_step(
                states, teacher, examples, orders, position, hyperparameters, batch_size
            )

        def body(index: jax.Array, carry: Any) -> Any:
            states, sums = carry
            states, metrics = one(states, position + index * batch_size)
            return states, jax.tree.map(jnp.add, sums, metrics)

        _, metrics = jax.eval_shape(one, states, position)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), metrics)
        return jax.lax.fori_loop(0, num_steps, body, (states, zeros))

    return pmap(
        train_steps, (0, 0, 0, 0, None, None, 0), static_last=True, donate_argnums=0
    )


def _unstack(tree: Any, length: int) -> tuple[Any, ...]:
    return tuple(
        jax.tree.map(lambda leaf, index=index: leaf[index], tree)
        for index in range(length)
    )


def in_parts(problem: Problem, pmap: Pmap) -> TrainSteps:
    """Programs of one student each, picked by the host."""
    pmap = _one_at_a_time(pmap)
    draw = pmap(
        functools.partial(step.draw, problem), (0, 0, 0, None, 0), static_last=True
    )
    ascend = pmap(
        functools.partial(_ascend_once, problem), (0, 0, 0, 0, 0), donate_argnums=2
    )
    learn = pmap(
        functools.partial(_teach_and_learn, problem),
        (0, 0, 0, 0, 0, 0),
        donate_argnums=0,
    )
    ascent_steps = problem.augmentation.steps if problem.augmentation else 0

    def one(
        state: TrainState,
        order: jax.Array,
        teacher: Variables | None,
        examples: Examples,
        position: np.int32,
        hyperparameters: Hyperparameters,
        batch_size: int,
    ) -> tuple[TrainState, Metrics]:
        ascent, labels, coin = draw(
            state, examples, order, position, hyperparameters, batch_size
        )
        if ascent_steps and np.any(coin):
            for _ in range(ascent_steps):
                ascent = ascend(state.params, teacher, ascent, coin, hyperparameters)
        return learn(state, teacher, ascent, labels, coin, hyperparameters)

    def train_steps(
        states: States,
        teacher: Variables | None,
        examples: Examples,
        orders: tuple[jax.Array, ...],
        position: np.int32,
        num_steps: np.int32,
        hyperparameters: Hyperparameters,
        batch_size: int,
    ) -> tuple[States, tuple[Metrics, ...]]:
        batches = []
        for index in range(num_steps):
            where = position + np.int32(index * batch_size)
            learned = [
                one(state, order, teacher, examples, where, hyperparameters, batch_size)
                for state, order in zip(states, orders, strict=True)
            ]
            states = tuple(state for state, _ in learned)
            batches.append(tuple(metrics for _, metrics in learned))
        return states, _sum_on_host(batches)

    return train_steps


def _one_at_a_time(pmap: Pmap) -> Pmap:
    """A `Pmap` whose programs end before the host goes on.

    CPU devices share a few threads: a program that waits for the others' part of a sum
    can keep the next one from starting, or from being compiled, for good.
    """

    def waiting_pmap(*arguments: Any, **options: Any) -> Callable[..., Any]:
        program = pmap(*arguments, **options)
        return lambda *values: jax.block_until_ready(program(*values))

    return waiting_pmap


def _ascend_once(
    problem: Problem,
    params: Any,
    teacher: Variables | None,
    ascent: Ascent,
    coin: jax.Array,
    hyperparameters: Hyperparameters,
) -> Ascent:
    """One step of the ascent; where devices have students of their own, on heads."""
    moved = step.ascend(problem, params, teacher, ascent, hyperparameters, whole=False)
    return jax.tree.map(lambda new, old: jnp.where(coin, new, old), moved, ascent)


def _teach_and_learn(
    problem: Problem,
    state: TrainState,
    teacher: Variables | None,
    ascent: Ascent,
    *arguments: Any,
) -> tuple[TrainState, Metrics]:
    (taught,) = step.teach(problem, teacher, [ascent.images])
    return step.learn(problem, state, taught, ascent, *arguments)


def _evaluate_in_a_loop(problem: Problem, pmap: Pmap) -> Evaluate:
    def evaluate(
        networks: tuple[Variables, ...], examples: Examples, batch_size: int
    ) -> tuple[Metrics, ...]:
        def one(position: jax.Array | int) -> tuple[Metrics, ...]:
            return tuple(
                step.eval_step(problem, variables, examples, position, batch_size)
                for variables in networks
            )

        def body(index: jax.Array, sums: Any) -> Any:
            return jax.tree.map(jnp.add, sums, one(index * batch_size))

        batches = -(-len(examples.labels) // batch_size)
        return jax.lax.fori_loop(1, batches, body, one(0))

    return pmap(evaluate, (0, 0), static_last=True)


def _evaluate_in_parts(problem: Problem, pmap: Pmap) -> Evaluate:
    eval_step = _one_at_a_time(pmap)(
        functools.partial(step.eval_step, problem), (0, 0, None), static_last=True
    )

    def evaluate(
        networks: tuple[Variables, ...], examples: Examples, batch_size: int
    ) -> tuple[Metrics, ...]:
        batches = [
            tuple(
                eval_step(variables, examples, np.int32(position), batch_size)
                for variables in networks
            )
            for position in range(0, examples.labels.shape[1], batch_size)
        ]
        return _sum_on_host(batches)

    return evaluate


def _sum_on_host(batches: list[tuple[Metrics, ...]]) -> tuple[Metrics, ...]:
    """Numpy arrays: sums on the devices would be more programs."""
    return jax.tree.map(
        lambda *leaves: np.sum(leaves, axis=0), *jax.device_get(batches)
    )


class Composition(NamedTuple):
    """The two makers of programs, each given a problem and a `Pmap`."""

    train_steps: Callable[[Problem, Pmap], TrainSteps]
    evaluate: Callable[[Problem, Pmap], Evaluate]


COMPOSITIONS = {
    "parts": Composition(in_parts, _evaluate_in_parts),
    "unrolled": Composition(unrolled, _evaluate_in_a_loop),
    "vmapped": Composition(vmapped, _evaluate_in_a_loop),
}

DEFAULTS = {"cpu": "parts"}
"""The fastest composition on a platform; `unrolled` where none is named."""
