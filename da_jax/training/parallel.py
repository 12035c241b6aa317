"""From steps to programs on devices: the only file that knows of devices and processes.

Every function of `step` is pmapped over the devices; one device is a mesh of one. Split
by `batch`, each device has all the students and a share of their batches; by `seeds`,
it has some of the students and their whole batches, and nothing to tell the others.
Several students (seeds) are a tuple of states; `composition` makes one step of them.
"""

import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from da_jax.data import Examples
from da_jax.errors import UserError
from da_jax.training import state
from da_jax.training.composition import COMPOSITIONS, States, evaluate_in_a_loop
from da_jax.training.state import (
    Hyperparameters,
    Metrics,
    Problem,
    TrainState,
    Variables,
)

AXIS_NAME = "batch"
"""The pmapped axis the batch is split over."""

SPLITS = ("batch", "seeds")
"""What the devices share out."""


def batch_axis(split: str) -> str | None:
    """The axis name that a problem and its networks need for a split."""
    return AXIS_NAME if split == "batch" else None


class Programs:
    """A problem's steps, compiled for devices.

    What lives on the devices has a leading axis of one entry a device, those of this
    process. `replicate` and `replicate_students` bring it there; `students` and
    `mean_metrics` bring it back, an entry a student, in the order of the seeds.

    Attributes:
      num_devices: of all processes.
      runs_ahead: whether the host has time for other things while a program runs.
    """

    def __init__(
        self,
        problem: Problem,
        num_students: int = 1,
        split: str = "batch",
        *,
        devices: Sequence[jax.Device] | None = None,
        composition: str = "unrolled",
    ) -> None:
        """Compiles nothing yet.

        Args:
          problem: its axis, and that of its networks, is `batch_axis(split)`.
          num_students: how many are trained side by side.
          split: one of `SPLITS`.
          devices: all of all processes by default.
          composition: a key of `COMPOSITIONS`.

        Raises:
          UserError: the devices don't divide the students that they share out.
        """
        assert problem.axis_name == batch_axis(split), "the problem is for this split"
        devices = list(devices or jax.devices())
        self.num_devices = len(devices)
        self._split = split
        if split == "seeds" and num_students % len(devices):
            raise UserError(
                f"{num_students} seeds can't be put on {len(devices)} devices evenly;"
                " choose a multiple, or --config.parallel=batch"
            )
        self._num_students = num_students
        self._local = [d for d in devices if d.process_index == jax.process_index()]
        # Devices that share nothing needn't know of other processes' either.
        self._devices = devices if split == "batch" else self._local
        self._problem = problem
        self.runs_ahead = devices[0].platform != "cpu"
        self._create_student = jax.jit(
            functools.partial(state.create_train_state, problem)
        )
        self._train_steps = COMPOSITIONS[composition](problem, self._pmap)
        self._evaluate = evaluate_in_a_loop(problem, self._pmap)
        self._epoch_order = self._pmap(state.epoch_order, (0, None), static_last=True)

    def check_batch_size(self, name: str, batch_size: int) -> None:
        """Refuses a batch that can't be split evenly.

        Raises:
          UserError: the devices don't divide `batch_size`, the field `name`.
        """
        if self._split == "batch" and batch_size % self.num_devices:
            raise UserError(
                f"{name}={batch_size} doesn't divide by the {self.num_devices}"
                " devices; choose a multiple of their number"
            )

    def replicate(self, tree: Any) -> Any:
        """A copy of `tree` on every device."""
        return self._put([tree] * len(self._local))

    def replicate_students(self, students: Sequence[Any]) -> tuple[Any, ...]:
        """A tree for each of the students, where the split wants it."""
        if self._split == "batch":
            return tuple(self.replicate(student) for student in students)
        per_device = self._num_students // self.num_devices
        first = jax.process_index() * len(self._local) * per_device
        mine = students[first : first + len(self._local) * per_device]
        return tuple(self._put(mine[slot::per_device]) for slot in range(per_device))

    def _put(self, trees: Sequence[Any]) -> Any:
        """A tree for each device of this process, on the devices."""
        mesh = jax.sharding.Mesh(np.array(self._local), (AXIS_NAME,))
        sharding = jax.NamedSharding(mesh, jax.P(AXIS_NAME))
        return jax.tree.map(
            lambda *leaves: jax.device_put(np.stack(leaves), sharding), *trees
        )

    def students(self, trees: Sequence[Any]) -> list[Any]:
        """The inverse of `replicate_students`: a tree of numpy arrays each."""
        if self._split == "batch":
            return [jax.tree.map(_first, tree) for tree in trees]
        trees = jax.tree.map(np.asarray, list(trees))
        if jax.process_count() > 1:
            trees = multihost_utils.process_allgather(trees, tiled=True)
        return [
            jax.tree.map(lambda leaf, device=device: leaf[device], tree)
            for device in range(self.num_devices)
            for tree in trees
        ]

    def create_student(self, seed: int) -> TrainState:
        """A student that has not learned yet."""
        return self._create_student(np.uint32(seed))

    def create_train_states(self, seed: int) -> States:
        """Students that have not learned yet, of the seeds from `seed` on."""
        seeds = range(seed, seed + self._num_students)
        return self.replicate_students([self.create_student(seed) for seed in seeds])

    def epoch_orders(
        self, states: States, steps_per_epoch: int, num_examples: int
    ) -> tuple[jax.Array, ...]:
        """The orders in which the students see the examples in their epoch."""
        return tuple(
            self._epoch_order(state, np.int32(steps_per_epoch), num_examples)
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
        """Several steps on consecutive batches, from `position` on in the orders.

        Arguments as of `step.train_step`. The old `states` must not be used again.

        Returns:
          The states after, whose metrics are those since position 0; and how many steps
          they have taken, to wait for when the states have been given away again.
        """
        return self._train_steps(
            states,
            teacher,
            examples,
            orders,
            np.int32(position),
            np.int32(num_steps),
            hyperparameters,
            batch_size,
        )

    def evaluate(
        self, networks: Sequence[Variables], examples: Examples, batch_size: int
    ) -> tuple[Metrics, ...]:
        """The sums of `step.eval_step`'s metrics over all `examples`, of each student.

        Args:
          networks: the students' variables, on the devices.
          examples: on the devices.
          batch_size: of all devices together.
        """
        return self._evaluate(tuple(networks), examples, batch_size)

    def mean_metrics(self, sums: tuple[Metrics, ...]) -> list[dict[str, float]]:
        """Each student's means, on the host; NaN where nothing counted."""
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
        """`function` on every device; `static_last`: one more argument, compiled in."""
        program = jax.pmap(
            function,
            axis_name=AXIS_NAME,
            in_axes=in_axes + (None,) * static_last,
            static_broadcasted_argnums=(len(in_axes),) * static_last,
            devices=self._devices,
            **options,
        )
        if self.runs_ahead:
            return program
        # CPU devices share a few threads: a program that waits for the others' part of
        # a sum can keep the next one from starting, or from being compiled, for good.
        return lambda *arguments: jax.block_until_ready(program(*arguments))


def _first(leaf: Any) -> np.ndarray:
    """The first device's entry, without copying the others'."""
    if isinstance(leaf, jax.Array):
        return np.asarray(leaf.addressable_shards[0].data)[0]
    return leaf[0]


def start_processes(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Joins this process with those of other hosts; before JAX is used for anything.

    Args:
      coordinator_address: HOST:PORT of the first process; None for what the cluster's
        environment says (Slurm, Open MPI, Kubernetes, TPU pods), as for the others.
      num_processes: how many there are.
      process_id: which one this is, from 0.

    Raises:
      UserError: they can't be joined.
    """
    try:
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the processes can't be joined: {reason}") from error


def device_description() -> dict[str, Any]:
    """What `results.json` says of the devices, those of all processes.

    Of CPUs also how many cores this process may use, where the system tells.
    """
    device = jax.devices()[0]
    description: dict[str, Any] = {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": jax.device_count(),
    }
    if device.platform == "cpu" and hasattr(os, "sched_getaffinity"):
        description["cores"] = len(os.sched_getaffinity(0))
    return description


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether there is no other process."""
    return jax.process_count() == 1


def from_first_process(value: Any) -> Any:
    """A JSON value of the first process, in all of them."""
    if jax.process_count() == 1:
        return value
    content = np.frombuffer(json.dumps(value).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    buffer = np.zeros(length, np.uint8)
    if is_first_process():
        buffer[:] = content
    return json.loads(multihost_utils.broadcast_one_to_all(buffer).tobytes())


def arrays_from_first_process(tree: Any) -> Any:
    """The first process's arrays, in all; everywhere a tree of the same shapes."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.broadcast_one_to_all(tree)
