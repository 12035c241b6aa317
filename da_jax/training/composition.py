"""Compositions: programs that train several students.

- `unrolled`: the students one after the other. Skipped ascents cost nothing, and the
  teacher has one forward pass for the images of all students.
- `vmapped`: one batched step. All ascents are computed, and convolutions are grouped.

Both have the same results. A composition maps a task and a `Pmap` to a `TrainSteps`:
several steps on consecutive batches, in one `lax.fori_loop` with a traced length.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from da_jax.data import Examples
from da_jax.models.forward import Variables
from da_jax.training import step
from da_jax.training.state import Hyperparameters, Metrics, Task, TrainState

Pmap = Callable[..., Callable[..., Any]]
"""Maps (function, in_axes, static_last, …) to the pmapped function."""

States = tuple[TrainState, ...]

TrainStep = Callable[..., tuple[States, tuple[Metrics, ...]]]
"""`step.train_step` with a task."""

TrainSteps = Callable[..., tuple[States, jax.Array]]
"""(states, teacher, examples, orders, first position, number of steps, hyperparameters
of each student, batch_size) to the states after these steps, and the first student's
step counter."""

Evaluate = Callable[..., tuple[Metrics, ...]]
"""(networks, examples, first batch, number of batches, batch_size) to the sums of each
network's metrics."""


def unrolled(task: Task, pmap: Pmap) -> TrainSteps:
    """Composes the students one after the other."""
    return _in_a_loop(functools.partial(step.train_step, task), pmap)


def vmapped(task: Task, pmap: Pmap) -> TrainSteps:
    """Composes the students as a batch axis of all arrays."""

    def train_step(
        states: States,
        teacher: Variables | None,
        examples: Examples,
        orders: tuple[jax.Array, ...],
        position: jax.Array,
        hyperparameters: tuple[Hyperparameters, ...],
        batch_size: int,
    ) -> tuple[States, tuple[Metrics, ...]]:
        def one(
            state: TrainState, order: jax.Array, hyperparameters: Hyperparameters
        ) -> tuple[TrainState, Metrics]:
            (after,), (metrics,) = step.train_step(
                task,
                (state,),
                teacher,
                examples,
                (order,),
                position,
                (hyperparameters,),
                batch_size,
            )
            return after, metrics

        stacked, metrics = jax.vmap(one)(
            *(_stack(tree) for tree in (states, orders, hyperparameters))
        )
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
        hyperparameters: tuple[Hyperparameters, ...],
        batch_size: int,
    ) -> tuple[States, jax.Array]:
        def body(index: jax.Array, states: States) -> States:
            states, metrics = train_step(
                states,
                teacher,
                examples,
                orders,
                position + index * batch_size,
                hyperparameters,
                batch_size,
            )
            is_first = position + index == 0
            return tuple(
                state.replace(metrics=_added(state.metrics, of_batch, is_first))
                for state, of_batch in zip(states, metrics, strict=True)
            )

        states = jax.lax.fori_loop(0, num_steps, body, states)
        return states, states[0].step

    return pmap(
        train_steps, (0, 0, 0, 0, None, None, 0), static_last=True, donate_argnums=0
    )


def _added(sums: Metrics, metrics: Metrics, is_first: jax.Array) -> Metrics:
    """Adds a batch's metrics to the epoch's sums, which start with the first batch."""
    return jax.tree.map(
        lambda total, value: jnp.where(is_first, 0, total) + value.astype(total.dtype),
        sums,
        metrics,
    )


def _stack(trees: tuple[Any, ...]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _unstack(tree: Any, length: int) -> tuple[Any, ...]:
    return tuple(
        jax.tree.map(lambda leaf, index=index: leaf[index], tree)
        for index in range(length)
    )


def evaluate_in_a_loop(task: Task, pmap: Pmap) -> Evaluate:
    """Composes an evaluation on some batches, the networks one after the other."""

    def evaluate(
        networks: tuple[Variables, ...],
        examples: Examples,
        first: jax.Array,
        num_batches: jax.Array,
        batch_size: int,
    ) -> tuple[Metrics, ...]:
        def one(index: jax.Array | int) -> tuple[Metrics, ...]:
            return tuple(
                step.eval_step(
                    task, variables, examples, index * batch_size, batch_size
                )
                for variables in networks
            )

        def body(index: jax.Array, sums: tuple[Metrics, ...]) -> tuple[Metrics, ...]:
            return jax.tree.map(jnp.add, sums, one(index))

        zeros = jax.tree.map(
            lambda metric: jnp.zeros(metric.shape, metric.dtype), jax.eval_shape(one, 0)
        )
        return jax.lax.fori_loop(first, first + num_batches, body, zeros)

    return pmap(evaluate, (0, 0, None, None), static_last=True)


COMPOSITIONS: dict[str, Callable[[Task, Pmap], TrainSteps]] = {
    "unrolled": unrolled,
    "vmapped": vmapped,
}
