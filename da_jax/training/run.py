"""A run before its first step: its data, teacher, programs and folder."""

import contextlib
import dataclasses
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from da_jax.analysis.training_gallery import TrainingGallery, create_training_gallery
from da_jax.config.configuration import create_hyperparameters, create_problem
from da_jax.config.fields import differing_fields
from da_jax.data import Dataset, Examples, hold_out, load_dataset, locations, take_part
from da_jax.errors import UserError
from da_jax.storage.files import read_json, write_json
from da_jax.storage.model_folders import load_model
from da_jax.training.parallel import Programs
from da_jax.training.state import Hyperparameters, Variables


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same from a run's first step to its last.

    Attributes:
      config: of the run.
      workdir: its folder.
      programs: its steps on the devices.
      num_classes: of its data set.
      batches: where each batch of an epoch starts, and its size.
      train: the training set, on the devices.
      judge: what each epoch is judged by, on the devices: the test set, or what of the
        training set is held out.
      dataset: the data set, without what is held out.
      teacher: the teacher's variables, on the host, or None.
      replicated_teacher: the same, on the devices.
      hyperparameters: the run's numbers, on the host.
      replicated_hyperparameters: the same for each student, on the devices.
      gallery: what is shown of the images that epochs are judged by, or None.
    """

    config: ConfigDict
    workdir: Path
    programs: Programs
    num_classes: int
    batches: list[tuple[int, int]]
    train: Examples
    judge: Examples
    dataset: Dataset
    teacher: Variables | None
    replicated_teacher: Variables | None
    hyperparameters: Hyperparameters
    replicated_hyperparameters: tuple[Hyperparameters, ...]
    gallery: TrainingGallery | None

    @property
    def split(self) -> str:
        """Of the data set, which an epoch is judged by."""
        return "validation" if self.config.validation_size else "test"

    @property
    def seeds(self) -> list[int]:
        """Of the students."""
        return [self.config.seed + index for index in range(self.config.num_seeds)]


def set_up(config: ConfigDict, workdir: Path) -> Run:
    """Loads the data and the teacher, and puts them on the devices.

    Raises:
      UserError: one of them can't be loaded, they don't fit each other, or the devices
        don't divide the batches or the seeds.
    """
    dataset = load_data(config)
    teacher = load_teacher(config, dataset) if config.teacher.model else None
    return create_run(config, workdir, dataset, teacher)


def load_data(config: ConfigDict) -> Dataset:
    """The config's data set, with as much of its training set as it asks for.

    Raises:
      UserError: it can't be loaded, or has fewer training examples.
    """
    dataset = load_dataset(config.dataset, locations.data_dir(config.data_dir))
    if config.train_size:
        dataset = take_part(dataset, config.train_size, config.train_seed)
    return dataset


def create_run(
    config: ConfigDict, workdir: Path, dataset: Dataset, teacher: Variables | None
) -> Run:
    """Puts the data and the teacher on the devices.

    Raises:
      UserError: the devices don't divide the batches or the seeds, or there aren't
        enough examples to hold out.
    """
    if config.validation_size:
        dataset, judge = hold_out(
            dataset, config.validation_size, config.validation_seed
        )
    else:
        judge = dataset.test
    batches = epoch_batches(
        len(dataset.train.labels), config.batch_size, config.drop_remainder
    )
    problem = create_problem(config, dataset)
    programs = Programs(problem, config.num_seeds, config.parallel)
    for _, batch_size in set(batches):
        programs.check_batch_size("config.batch_size", batch_size)
    programs.check_batch_size("config.eval_batch_size", config.eval_batch_size)
    hyperparameters = create_hyperparameters(config, steps_per_epoch=len(batches))
    return Run(
        config=config,
        workdir=workdir,
        programs=programs,
        num_classes=dataset.num_classes,
        batches=batches,
        train=programs.replicate(dataset.train),
        judge=programs.replicate(judge),
        dataset=dataset,
        teacher=teacher,
        replicated_teacher=programs.replicate(teacher),
        hyperparameters=hyperparameters,
        replicated_hyperparameters=programs.replicate_students(
            [hyperparameters] * config.num_seeds
        ),
        gallery=create_training_gallery(config, problem, dataset, judge, teacher),
    )


def epoch_batches(
    num_examples: int, batch_size: int, drop_remainder: bool
) -> list[tuple[int, int]]:
    """Where each batch of an epoch starts in its order, and its size.

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


def load_teacher(config: ConfigDict, dataset: Dataset) -> Variables:
    """The variables of the config's teacher.

    Raises:
      UserError: it is missing or damaged, or doesn't fit the config or the data set.
    """
    directory = Path(config.teacher.checkpoint)
    teacher = load_model(directory)
    expected = (config.teacher.model, dataset.num_classes)
    if (teacher.name, teacher.num_classes) != expected:
        raise UserError(
            f"the teacher in {directory} is a {teacher.name} of {teacher.num_classes}"
            f" classes, but config.teacher.model is {config.teacher.model} and"
            f" {config.dataset} has {dataset.num_classes} classes"
        )
    return teacher.variables


@contextlib.contextmanager
def claimed(run: Run) -> Iterator[None]:
    """The workdir is this config's from now on, and this process's until the end.

    Raises:
      UserError: it holds a run of another config, with the fields that differ; or
        another process is at it.
    """
    try:
        run.workdir.mkdir(parents=True, exist_ok=True)
        file = (run.workdir / "lock").open("a")
    except OSError as error:
        raise UserError(
            f"--workdir {run.workdir} can't be written: {error.strerror}"
        ) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is at the run in {run.workdir}; wait for its end, or"
                " choose another --workdir"
            ) from error
        mark(run.workdir / "config.json", run.config.to_dict())
        yield


def mark(file: Path, config: dict[str, Any]) -> None:
    """Leaves the config in a file of the workdir, if there isn't another there.

    Raises:
      UserError: there is, with the fields that differ.
    """
    if file.exists():
        differing = differing_fields(config, read_json(file))
        if differing:
            raise UserError(
                f"{file.parent} holds a run of another config: {'; '.join(differing)};"
                " choose another --workdir"
            )
    write_json(file, config)
