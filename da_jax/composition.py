"""How several students' steps become programs: a composition.

- `parts`: draw, ascend and learn are programs of one student, and the host looks at the
  coin that the device has thrown. For CPUs, where XLA sends the convolutions inside a
  loop or a cond to a slow path (9.1 s against 3.4 s for resnet32x4 → resnet8x4).
- `unrolled`: one program with a `lax.cond` for each student, and one pass of the
  teacher over all their moved images.
- `vmapped`: one program of one batched step. Its conds are selects, so that every
  ascent is paid for, and its convolutions are grouped.

Their results are the same. A composition is given a problem and a `Pmap`, and gives
`step.train_step` for arguments that are on the devices.
"""

import functools
from collections.abc import Callable
from typing import Any

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


def unrolled(problem: Problem, pmap: Pmap) -> TrainStep:
    """One program, with the students one after the other."""
    return pmap(
        functools.partial(step.train_step, problem),
        (0, 0, 0, 0, None, 0),
        static_last=True,
        donate_argnums=0,
    )


def vmapped(problem: Problem, pmap: Pmap) -> TrainStep:
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

    return pmap(train_step, (0, 0, 0, 0, None, 0), static_last=True, donate_argnums=0)


def _unstack(tree: Any, length: int) -> tuple[Any, ...]:
    return tuple(
        jax.tree.map(lambda leaf, index=index: leaf[index], tree)
        for index in range(length)
    )


def in_parts(problem: Problem, pmap: Pmap) -> TrainStep:
    """Programs of one student each, picked by the host."""
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

    def train_step(
        states: States,
        teacher: Variables | None,
        examples: Examples,
        orders: tuple[jax.Array, ...],
        *numbers: Any,
    ) -> tuple[States, tuple[Metrics, ...]]:
        learned = [
            one(state, order, teacher, examples, *numbers)
            for state, order in zip(states, orders, strict=True)
        ]
        states, metrics = zip(*learned, strict=True)
        return states, metrics

    return train_step


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


COMPOSITIONS: dict[str, Callable[[Problem, Pmap], TrainStep]] = {
    "parts": in_parts,
    "unrolled": unrolled,
    "vmapped": vmapped,
}

DEFAULTS = {"cpu": "parts"}
"""The fastest composition on a platform; `unrolled` where none is named."""
