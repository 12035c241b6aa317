"""Pmapped training and evaluation steps.

One device is a mesh of one. With `parallel="batch"` each device has all students and a
share of their batches; with `"seeds"` it has some of the students and their whole
batches, and devices don't communicate. Several students (seeds) are a tuple of states;
`composition` makes one step of them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from da_jax.data import Examples
from da_jax.errors import UserError
from da_jax.models.forward import Variables
from da_jax.training.composition import COMPOSITIONS, States, evaluate_in_a_loop
from da_jax.training.sampling import epoch_order
from da_jax.training.state import (
    Hyperparameters,
    Metrics,
    Task,
    TrainState,
    create_train_state,
)

AXIS_NAME = "batch"
"""The pmapped axis the batch is split over."""

EVALUATION_CALLS = 8
"""How many programs an evaluation has on accelerators; on CPUs a batch is one."""

PARALLEL = ("batch", "seeds")
"""What may be spread over the devices."""


def batch_axis(parallel: str) -> str | None:
    """Returns the axis name of a task and its networks."""
    return AXIS_NAME if parallel == "batch" else None


class PmappedSteps:
    """A task's training and evaluation steps, compiled for devices.

    Arrays on the devices have a leading axis with an entry for each device of this
    process. `replicate` and `replicate_students` put trees there; `students` and
    `mean_metrics` take them back, an entry for each student, in the order of the seeds.

    Attributes:
      num_devices: of all processes.
      runs_ahead: whether the host can go on while a program runs.
    """

    def __init__(
        self,
        task: Task,
        num_students: int = 1,
        parallel: str = "batch",
        *,
        devices: Sequence[jax.Device] | None = None,
        composition: str = "unrolled",
    ) -> None:
        """Compiles nothing yet.

        Args:
          task: its axis, and that of its networks, is `batch_axis(parallel)`.
          num_students: how many are trained side by side.
          parallel: one of `PARALLEL`.
          devices: all of all processes by default.
          composition: a key of `COMPOSITIONS`.

        Raises:
          UserError: the students can't be spread over the devices evenly.
        """
        assert task.axis_name == batch_axis(parallel), "the task is for this axis"
        devices = list(devices or jax.devices())
        self.num_devices = len(devices)
        self._parallel = parallel
        if parallel == "seeds" and num_students % len(devices):
            raise UserError(
                f"{num_students} seeds can't be put on {len(devices)} devices evenly;"
                " choose a multiple, or --config.parallel=batch"
            )
        self._num_students = num_students
        self._local = [d for d in devices if d.process_index == jax.process_index()]
        # Devices that don't communicate needn't know of other processes' either.
        self._devices = devices if parallel == "batch" else self._local
        self.runs_ahead = devices[0].platform != "cpu"
        self._create_state = jax.jit(functools.partial(create_train_state, task))
        self._train_steps = COMPOSITIONS[composition](task, self._pmap)
        self._evaluate = evaluate_in_a_loop(task, self._pmap)
        self._add = self._pmap(lambda *sums: jax.tree.map(jnp.add, *sums), (0, 0))
        self._epoch_order = self._pmap(epoch_order, (0, None), static_last=True)

    def check_batch_size(self, name: str, batch_size: int) -> None:
        """Refuses a batch that can't be spread over the devices evenly.

        Raises:
          UserError: the devices don't divide `batch_size`, the field `name`.
        """
        if self._parallel == "batch" and batch_size % self.num_devices:
            raise UserError(
                f"{name}={batch_size} doesn't divide by the {self.num_devices}"
                " devices; choose a multiple of their number"
            )

    def replicate(self, tree: Any) -> Any:
        """Puts a copy of `tree` on every device."""
        return self._put([tree] * len(self._local))

    def replicate_students(self, students: Sequence[Any]) -> tuple[Any, ...]:
        """Puts a tree for each student on the devices that train it."""
        if self._parallel == "batch":
            return tuple(self.replicate(student) for student in students)
        per_device = self._num_students // self.num_devices
        first = jax.process_index() * len(self._local) * per_device
        mine = students[first : first + len(self._local) * per_device]
        return tuple(self._put(mine[slot::per_device]) for slot in range(per_device))

    def _put(self, trees: Sequence[Any]) -> Any:
        """Puts a tree on each device of this process."""
        mesh = jax.sharding.Mesh(np.array(self._local), (AXIS_NAME,))
        sharding = jax.NamedSharding(mesh, jax.P(AXIS_NAME))
        return jax.tree.map(
            lambda *leaves: jax.device_put(np.stack(leaves), sharding), *trees
        )

    def students(self, trees: Sequence[Any]) -> list[Any]:
        """Inverts `replicate_students`: a tree of numpy arrays for each student."""
        if self._parallel == "batch":
            return [jax.tree.map(_first, tree) for tree in trees]
        trees = jax.tree.map(np.asarray, list(trees))
        if jax.process_count() > 1:
            trees = multihost_utils.process_allgather(trees, tiled=True)
        return [
            jax.tree.map(lambda leaf, device=device: leaf[device], tree)
            for device in range(self.num_devices)
            for tree in trees
        ]

    def create_train_state(
        self,
        seed: int,
        hyperparameters: Hyperparameters,
        start: Variables | None = None,
    ) -> TrainState:
        """Initialises a student on one device, see `state.create_train_state`."""
        return self._create_state(np.uint32(seed), hyperparameters.method, start)

    def create_train_states(
        self,
        seed: int,
        hyperparameters: Hyperparameters,
        start: Variables | None = None,
    ) -> States:
        """Initialises the students of the seeds from `seed` on, on their devices."""
        seeds = range(seed, seed + self._num_students)
        return self.replicate_students(
            [self.create_train_state(seed, hyperparameters, start) for seed in seeds]
        )

    def epoch_orders(
        self, states: States, steps_per_epoch: int, num_examples: int
    ) -> tuple[jax.Array, ...]:
        """Returns the order of the examples in each student's epoch."""
        return tuple(
            self._block_on_cpu(
                self._epoch_order(state, np.int32(steps_per_epoch), num_examples)
            )
            for state in states
        )

    def train_steps(
        self,
        states: States,
        teacher: Variables | None,
        examples: Examples,
        orders: tuple[jax.Array, ...],
        position: int,
        num_steps: int,
        hyperparameters: tuple[Hyperparameters, ...],
        batch_size: int,
    ) -> tuple[States, jax.Array]:
        """Takes steps on consecutive batches from `position` on. Donates `states`.

        Arguments as of `step.train_step`.

        Returns:
          The states after, with the metrics since position 0; and how many steps they
          have taken, to wait for when the states have been donated again.
        """
        return self._block_on_cpu(
            self._train_steps(
                states,
                teacher,
                examples,
                orders,
                np.int32(position),
                np.int32(num_steps),
                hyperparameters,
                batch_size,
            )
        )

    def evaluate(
        self,
        networks: Sequence[Variables],
        examples: Examples,
        batch_size: int,
        evaluated: Callable[[int], None] = lambda images: None,
    ) -> tuple[Metrics, ...]:
        """Sums the metrics of `step.eval_step` over all examples, for each student.

        Args:
          networks: the students' variables, on the devices.
          examples: on the devices.
          batch_size: of all devices together.
          evaluated: called with the number of images of each program.
        """
        num_examples = examples.labels.shape[1]
        num_batches = math.ceil(num_examples / batch_size)
        per_call = math.ceil(num_batches / EVALUATION_CALLS) if self.runs_ahead else 1
        sums: tuple[Metrics, ...] | None = None
        for first in range(0, num_batches, per_call):
            last = min(first + per_call, num_batches)
            part = self._block_on_cpu(
                self._evaluate(
                    tuple(networks),
                    examples,
                    np.int32(first),
                    np.int32(last - first),
                    batch_size,
                )
            )
            sums = part if sums is None else self._block_on_cpu(self._add(sums, part))
            images = min(last * batch_size, num_examples) - first * batch_size
            evaluated(images * self._num_students)
        assert sums is not None, "there are examples"
        return sums

    def mean_metrics(self, sums: tuple[Metrics, ...]) -> list[dict[str, float]]:
        """Computes each student's means, on the host; NaN where nothing counted."""
        return [
            {
                name: float(metric.total / metric.count) if metric.count else np.nan
                for name, metric in metrics.items()
            }
            for metrics in self.students(sums)
        ]

    def _pmap(
        self,
        function: Callable[..., Any],
        in_axes: tuple[int | None, ...],
        static_last: bool = False,
        **options: Any,
    ) -> Any:
        """Maps `function` over the devices.

        With `static_last` it takes one more argument, which is compiled in.
        """
        return jax.pmap(
            function,
            axis_name=AXIS_NAME,
            in_axes=in_axes + (None,) * static_last,
            static_broadcasted_argnums=(len(in_axes),) * static_last,
            devices=self._devices,
            **options,
        )

    def _block_on_cpu(self, results: Any) -> Any:
        """Returns results, on CPUs when they are there.

        CPU devices share a few threads: a program that waits for the others' part of a
        sum can keep the next one from starting, or from being compiled, forever.
        """
        return results if self.runs_ahead else jax.block_until_ready(results)


def _first(leaf: Any) -> np.ndarray:
    """Copies the first device's entry alone."""
    if isinstance(leaf, jax.Array):
        return np.asarray(leaf.addressable_shards[0].data)[0]
    return leaf[0]
