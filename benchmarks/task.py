"""The tasks of the benchmarks: a teacher and a student on random images."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from da_jax.configs import default
from ml_collections import ConfigDict

from da_jax.config.build import build_run, create_hyperparameters, create_task
from da_jax.data import Dataset, Examples
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.models import create_model
from da_jax.models.forward import Variables
from da_jax.training import step
from da_jax.training.run import Run
from da_jax.training.state import create_train_state


def synthetic_dataset(size: int, test_size: int = 1) -> Dataset:
    """Creates random images in CIFAR-100's shape: speed doesn't depend on them."""
    rng = np.random.default_rng(0)

    def examples(size: int) -> Examples:
        images = rng.integers(0, 256, (size, 32, 32, 3), np.uint8)
        return Examples(images, rng.integers(0, 100, size).astype(np.int32))

    test = examples(test_size)
    return Dataset(examples(size), lambda: test, 100, PREPROCESSING)


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A distillation task and how many students are trained on it.

    Attributes:
      teacher: architecture of the teacher.
      student: architecture of the students.
      batch_size: of a student, over all devices.
      students: number of students trained in one program.
      precision: a key of `da_jax.models.network.PRECISIONS`.
      probability: of augmenting a batch; None trains without DA.
      method: a key of METHODS, with its default hyperparameters.
    """

    teacher: str
    student: str
    batch_size: int = 64
    students: int = 1
    precision: str = "tensorfloat32"
    probability: float | None = 0.7374
    method: str = "KD"

    def config(self) -> ConfigDict:
        """Returns the config of this task."""
        config = default.create(self.student, [self.teacher], "")
        config.batch_size = self.batch_size
        config.num_seeds = self.students
        config.precision = self.precision
        config.method = self.method
        config.augmentation = "none" if self.probability is None else "disagreement"
        config.disagreement.probability = self.probability or 0.0
        return config

    def build_run(self, train_size: int, test_size: int = 1) -> Run:
        """Builds a run on random images, with an untrained teacher."""
        dataset = synthetic_dataset(train_size, test_size)
        teacher = jax.jit(self.init_teacher)()
        return build_run(self.config(), Path("runs/benchmark"), dataset, teacher)

    def init_teacher(self) -> Variables:
        """Initialises the variables of an untrained teacher."""
        images = jnp.zeros((1, 32, 32, 3))
        return dict(create_model(self.teacher).init(jax.random.key(1), images))

    def lower_train_step(self, train_size: int) -> jax.stages.Lowered:
        """Lowers a step of all students on one device, before XLA optimises it."""
        config = self.config()
        config.parallel = "seeds"  # no axis
        dataset = synthetic_dataset(train_size)
        task = create_task(config, dataset)
        hyperparameters = create_hyperparameters(config, steps_per_epoch=1)
        state = jax.eval_shape(
            lambda: create_train_state(task, 0, hyperparameters.method)
        )
        order = jax.ShapeDtypeStruct((train_size,), jnp.int32)
        return jax.jit(step.train_step, static_argnums=(0, 7)).lower(
            task,
            (state,) * self.students,
            jax.eval_shape(self.init_teacher),
            dataset.train,
            (order,) * self.students,
            0,
            (hyperparameters,) * self.students,
            self.batch_size,
        )


@functools.cache
def step_memory(spec: TaskSpec, train_size: int) -> int:
    """Returns a training step's peak memory in bytes, the data included."""
    memory = spec.lower_train_step(train_size).compile().memory_analysis()
    assert memory is not None, "XLA analyses every compiled program"
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def create_steps(run: Run) -> Callable[[int], Any]:
    """Returns a function that takes steps from the start of the run's data.

    It takes the number of steps and returns arrays to wait for.
    """
    states = run.steps.create_train_states(0, run.hyperparameters)
    orders = run.steps.epoch_orders(states, len(run.batches), run.train.labels.shape[1])
    _, batch_size = run.batches[0]

    def steps(count: int) -> Any:
        nonlocal states
        states, _ = run.steps.train_steps(
            states,
            run.replicated_teacher,
            run.train,
            orders,
            0,
            count,
            run.replicated_hyperparameters,
            batch_size,
        )
        return states

    return steps
