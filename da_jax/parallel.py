"""From steps to programs on devices: the only file that knows of devices.

Every function of `step` is pmapped over the devices with the batch split among them;
one device is a mesh of one. What lives on the devices has a leading axis of one entry
a device.

On accelerators a training step is one program with `lax.cond` around `lax.fori_loop`.
XLA sends the convolutions inside such a region to a slow path on CPUs (9.1 s against
3.4 s for resnet32x4 → resnet8x4), so there its parts are programs of their own, and the
host looks at the coin that the device has thrown.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.jax_utils
import jax
import numpy as np

from da_jax import step
from da_jax.datasets import Examples
from da_jax.errors import UserError
from da_jax.step import Hyperparameters, Metrics, Problem, TrainState, Variables

AXIS_NAME = "batch"
"""The pmapped axis the batch is split over."""


class Programs:
    """A problem's steps, compiled for devices.

    Their arguments and results are replicated: `replicate` and `to_host` are the way
    there and back.
    """

    def __init__(
        self, problem: Problem, devices: Sequence[jax.Device] | None = None
    ) -> None:
        """Compiles nothing yet.

        Args:
          problem: with `AXIS_NAME` as its axis, and the axis of its networks.
          devices: all by default.
        """
        self.devices = list(devices or jax.devices())
        self._problem = problem
        steps_in_parts = self.devices[0].platform == "cpu"
        self._train_step = self._in_parts() if steps_in_parts else self._in_one()
        self._eval_step = self._pmap(
            functools.partial(step.eval_step, problem), (0, 0, None), static_last=True
        )
        self._epoch_order = self._pmap(step.epoch_order, (0, None), static_last=True)

    def check_batch_size(self, name: str, batch_size: int) -> None:
        """Refuses a batch that can't be split evenly.

        Raises:
          UserError: the devices don't divide `batch_size`, the field `name`.
        """
        if batch_size % len(self.devices):
            raise UserError(
                f"{name}={batch_size} doesn't divide by the {len(self.devices)}"
                " devices; choose a multiple of their number"
            )

    def replicate(self, tree: Any) -> Any:
        """A copy of `tree` on every device."""
        return flax.jax_utils.replicate(tree, self.devices)

    def to_host(self, tree: Any) -> Any:
        """The first device's part of `tree`, as numpy arrays."""
        return jax.tree.map(
            lambda leaf: np.asarray(leaf.addressable_shards[0].data)[0], tree
        )

    def create_train_state(self, seed: int) -> TrainState:
        """A student that has not learned yet."""
        create = functools.partial(step.create_train_state, self._problem)
        return self.replicate(jax.jit(create)(seed))

    def epoch_order(
        self, state: TrainState, epoch: int, num_examples: int
    ) -> jax.Array:
        """The order in which `epoch` (from 0) sees the examples."""
        return self._epoch_order(state, np.int32(epoch), num_examples)

    def train_step(
        self,
        state: TrainState,
        teacher: Variables | None,
        examples: Examples,
        order: jax.Array,
        position: int,
        hyperparameters: Hyperparameters,
        batch_size: int,
    ) -> tuple[TrainState, Metrics]:
        """See `step.train_step`. The old `state` must not be used again."""
        return self._train_step(
            state,
            teacher,
            examples,
            order,
            np.int32(position),
            hyperparameters,
            batch_size,
        )

    def evaluate(
        self, variables: Variables, examples: Examples, batch_size: int
    ) -> dict[str, float]:
        """The mean of each of `step.eval_step`'s metrics over all the `examples`."""
        num_examples = examples.labels.shape[1]
        batches = [
            self._eval_step(variables, examples, np.int32(position), batch_size)
            for position in range(0, num_examples, batch_size)
        ]
        return self.mean_metrics(batches)

    def mean_metrics(self, batches: Sequence[Metrics]) -> dict[str, float]:
        """The means over all the batches; NaN where nothing counted."""
        means = {}
        for name in batches[0]:
            parts = [self.to_host(batch[name]) for batch in batches]
            count = sum(int(part.count) for part in parts)
            total = sum(float(part.total) for part in parts)
            means[name] = total / count if count else float("nan")
        return means

    def _pmap(
        self,
        function: Callable[..., Any],
        in_axes: tuple[int | None, ...],
        static_last: bool = False,
        **options: Any,
    ) -> Any:
        """`function` on every device; `static_last`: one more argument, compiled in."""
        return jax.pmap(
            function,
            axis_name=AXIS_NAME,
            in_axes=in_axes + (None,) * static_last,
            static_broadcasted_argnums=(len(in_axes),) * static_last,
            devices=self.devices,
            **options,
        )

    def _in_one(self) -> Callable[..., tuple[TrainState, Metrics]]:
        return self._pmap(
            functools.partial(step.train_step, self._problem),
            (0, 0, 0, 0, None, 0),
            static_last=True,
            donate_argnums=0,
        )

    def _in_parts(self) -> Callable[..., tuple[TrainState, Metrics]]:
        problem = self._problem
        draw = self._pmap(
            functools.partial(step.draw, problem), (0, 0, 0, None, 0), static_last=True
        )
        ascend = self._pmap(
            functools.partial(step.ascend, problem, whole=False),
            (0, 0, 0, 0),
            donate_argnums=2,
        )
        learn = self._pmap(
            functools.partial(step.learn, problem),
            (0, 0, 0, 0, 0, 0),
            donate_argnums=0,
        )
        augmentation = problem.augmentation

        def train_step(
            state: TrainState,
            teacher: Variables | None,
            examples: Examples,
            order: jax.Array,
            position: np.int32,
            hyperparameters: Hyperparameters,
            batch_size: int,
        ) -> tuple[TrainState, Metrics]:
            ascent, labels, coin = draw(
                state, examples, order, position, hyperparameters, batch_size
            )
            if augmentation is not None and self.to_host(coin):
                for _ in range(augmentation.steps):
                    ascent = ascend(state.params, teacher, ascent, hyperparameters)
            return learn(state, teacher, ascent, labels, coin, hyperparameters)

        return train_step
