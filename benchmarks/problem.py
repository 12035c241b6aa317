"""What the benchmarks train: a pair of networks on noise."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import default
from da_jax.config.build import create_hyperparameters, create_problem
from da_jax.data import Dataset, Examples
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.models import create_model
from da_jax.training import step
from da_jax.training.run import Run, create_run
from da_jax.training.state import Variables, create_train_state


def synthetic_dataset(size: int, test_size: int = 1) -> Dataset:
    """Noise of CIFAR-100's shape: a step's time doesn't depend on the images."""
    rng = np.random.default_rng(0)

    def examples(size: int) -> Examples:
        images = rng.integers(0, 256, (size, 32, 32, 3), np.uint8)
        return Examples(images, rng.integers(0, 100, size).astype(np.int32))

    test = examples(test_size)
    return Dataset(examples(size), lambda: test, 100, PREPROCESSING)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained, and how.

    Attributes:
      teacher: its architecture.
      student: the students'.
      batch_size: of a student, over all devices.
      students: how many are trained in one program.
      precision: of the networks.
      probability: of the ascent; None trains without DA.
      method: of the distillation, with its numbers from `configs/default.py`.
    """

    teacher: str
    student: str
    batch_size: int = 64
    students: int = 1
    precision: str = "tensorfloat32"
    probability: float | None = 0.7374
    method: str = "KD"

    def config(self) -> ConfigDict:
        """As `configs/` has them."""
        config = default.create(self.student, [self.teacher], "")
        config.batch_size = self.batch_size
        config.num_seeds = self.students
        config.precision = self.precision
        config.method = self.method
        config.augmentation = "none" if self.probability is None else "disagreement"
        config.disagreement.probability = self.probability or 0.0
        return config

    def create_run(self, train_size: int, test_size: int = 1) -> Run:
        """A run of it on noise, by a teacher that hasn't learned anything."""
        dataset = synthetic_dataset(train_size, test_size)
        teacher = jax.jit(self.init_teacher)()
        return create_run(self.config(), Path("runs/benchmark"), dataset, teacher)

    def init_teacher(self) -> Variables:
        """The variables of a teacher that hasn't learned anything."""
        images = jnp.zeros((1, 32, 32, 3))
        return dict(create_model(self.teacher).init(jax.random.key(1), images))

    def lower_train_step(self, train_size: int) -> jax.stages.Lowered:
        """A step of all the students on one device, before XLA optimises it."""
        config = self.config()
        config.parallel = "seeds"  # no axis
        dataset = synthetic_dataset(train_size)
        problem = create_problem(config, dataset)
        state = jax.eval_shape(lambda: create_train_state(problem, 0))
        order = jax.ShapeDtypeStruct((train_size,), jnp.int32)
        return jax.jit(step.train_step, static_argnums=(0, 7)).lower(
            problem,
            (state,) * self.students,
            jax.eval_shape(self.init_teacher),
            dataset.train,
            (order,) * self.students,
            0,
            (create_hyperparameters(config, steps_per_epoch=1),) * self.students,
            self.batch_size,
        )


@functools.cache
def bytes_of_a_step(setting: Setting, train_size: int) -> int:
    """The most that a training step's program has in memory, the data included."""
    memory = setting.lower_train_step(train_size).compile().memory_analysis()
    assert memory is not None, "XLA analyses all its programs"
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def create_steps(run: Run) -> Callable[[int], Any]:
    """Takes so many steps from the start of `run`'s data; returns what to wait for."""
    states = run.programs.create_train_states(0)
    orders = run.programs.epoch_orders(
        states, len(run.batches), run.train.labels.shape[1]
    )

    def steps(count: int) -> Any:
        nonlocal states
        states, _ = run.programs.train_steps(
            states,
            run.replicated_teacher,
            run.train,
            orders,
            0,
            count,
            run.replicated_hyperparameters,
            run.config.batch_size,
        )
        return states

    return steps
