"""A run before its first step: its options, its data and its steps on the devices."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from da_jax.data import Dataset, Examples
from da_jax.errors import UserError
from da_jax.models.forward import Variables
from da_jax.training.metrics import is_due
from da_jax.training.parallel import PmappedSteps
from da_jax.training.state import Hyperparameters, Task
from da_jax.training.writers import Summaries


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is trained, beside what the steps are; fields are the config's.

    Attributes:
      seed: of the first student; the others have the following ones.
      num_seeds: how many students are trained side by side.
      num_epochs: how many.
      eval_batch_size: over all devices.
      eval_every: epochs from one evaluation to the next.
      checkpoint_every: epochs from one checkpoint to the next.
      gallery_every: epochs from one gallery to the next; 0 for none.
      steps_per_call: training steps in a program; 0 chooses.
      profile_steps: of the second epoch, which are traced.
    """

    seed: int
    num_seeds: int
    num_epochs: int
    eval_batch_size: int
    eval_every: int
    checkpoint_every: int
    gallery_every: int
    steps_per_call: int
    profile_steps: int


@dataclasses.dataclass(frozen=True)
class Names:
    """What files call a run's parts.

    Attributes:
      run: the config's name.
      dataset: a key of DATASETS.
      student: the network that is trained, see `create_model`.
      teacher: the same, or empty.
      imports: modules that define what isn't bundled.
    """

    run: str
    dataset: str
    student: str
    teacher: str = ""
    imports: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same from a run's first step to its last.

    Attributes:
      options: how it is trained.
      names: of its parts.
      record: its config, as files keep it.
      workdir: its folder.
      task: what is trained.
      steps: its steps on the devices.
      batches: where each batch of an epoch starts, and its size.
      train: the training set, on the devices.
      held_out: what epochs are evaluated on, on the host.
      eval_examples: the same, on the devices.
      split: of the data set that these are, `test` or `validation`.
      dataset: the data set, without what is held out.
      teacher: the teacher's variables, on the host, or None.
      replicated_teacher: the same, on the devices.
      hyperparameters: of the run, on the host.
      replicated_hyperparameters: the same for each student, on the devices.
      gallery: the student's variables to what TensorBoard shows of them, or None.
      start: variables that students start from, see `create_train_state`, or None.
    """

    options: Options
    names: Names
    record: Mapping[str, Any]
    workdir: Path
    task: Task
    steps: PmappedSteps
    batches: list[tuple[int, int]]
    train: Examples
    held_out: Examples
    eval_examples: Examples
    split: str
    dataset: Dataset
    teacher: Variables | None
    replicated_teacher: Variables | None
    hyperparameters: Hyperparameters
    replicated_hyperparameters: tuple[Hyperparameters, ...]
    gallery: Callable[[Variables], Summaries | None] | None = None
    start: Variables | None = None

    @property
    def seeds(self) -> list[int]:
        """The students' seeds."""
        first = self.options.seed
        return list(range(first, first + self.options.num_seeds))

    def num_images(self, num_epochs: int) -> int:
        """Returns how many images the first epochs train and evaluate, of all students.

        Args:
          num_epochs: how many epochs.
        """
        options = self.options
        evaluations = sum(
            is_due(epoch, options.eval_every, options.num_epochs)
            for epoch in range(1, num_epochs + 1)
        )
        training = num_epochs * sum(size for _, size in self.batches)
        evaluation = evaluations * len(self.held_out.labels)
        return len(self.seeds) * (training + evaluation)


def epoch_batches(
    num_examples: int, batch_size: int, drop_remainder: bool
) -> list[tuple[int, int]]:
    """Returns where each batch of an epoch starts in its order, and its size.

    Raises:
      UserError: there are fewer examples than a batch holds.
    """
    if batch_size > num_examples:
        raise UserError(
            f"config.batch_size is {batch_size}, but the training set has only"
            f" {num_examples} examples"
        )
    whole, remainder = divmod(num_examples, batch_size)
    batches = [(index * batch_size, batch_size) for index in range(whole)]
    if remainder and not drop_remainder:
        batches.append((whole * batch_size, remainder))
    return batches
