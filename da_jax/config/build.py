"""From a config to the run that training is given."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from ml_collections import ConfigDict

from da_jax import declarations
from da_jax.augmentations import AUGMENTATIONS
from da_jax.augmentations.disagreement import DisagreementAugmentation
from da_jax.config.defaults import sections_in_use
from da_jax.config.init_checkpoint import load_init_checkpoint
from da_jax.config.record import to_record
from da_jax.data import Dataset, Examples, hold_out, load_dataset, locations, take_part
from da_jax.errors import UserError
from da_jax.methods import METHODS, create_method
from da_jax.models import check_axis, check_logits, create_model, reusing
from da_jax.models.forward import Variables
from da_jax.models.network import PRECISIONS
from da_jax.storage.model_folders import load_model
from da_jax.training.optimizers import Optimizer, OptimizerHyperparameters
from da_jax.training.parallel import PmappedSteps, batch_axis
from da_jax.training.run import Names, Options, Run, epoch_batches
from da_jax.training.state import Hyperparameters, Task


def load_data(config: ConfigDict) -> Dataset:
    """Loads the config's data set, with as much of its training set as it asks for.

    Raises:
      UserError: it can't be loaded, or has fewer training examples.
    """
    dataset = load_dataset(config.dataset, locations.data_dir(config.data_dir))
    if config.train_size:
        dataset = take_part(dataset, config.train_size, config.train_seed)
    return dataset


def load_teacher(config: ConfigDict, dataset: Dataset) -> Variables | None:
    """Loads the variables of the config's teacher; None if it has none.

    Raises:
      UserError: it is missing or damaged, or doesn't fit the config or the data set.
    """
    if not config.teacher.model:
        return None
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


def build_run(
    config: ConfigDict, workdir: Path, dataset: Dataset, teacher: Variables | None
) -> Run:
    """Builds a run, with the data and the teacher on the devices.

    Args:
      config: a checked config.
      workdir: the run's folder.
      dataset: see `load_data`.
      teacher: see `load_teacher`.

    Raises:
      UserError: batches or seeds can't be spread over the devices evenly, there aren't
        enough examples to hold out, or `init_checkpoint` doesn't fit.
    """
    dataset, eval_examples, split = split_data(config, dataset)
    batches = epoch_batches(
        len(dataset.train.labels), config.batch_size, config.drop_remainder
    )
    task = create_task(config, dataset)
    steps = PmappedSteps(task, config.num_seeds, config.parallel)
    check_networks(config, task, dataset.num_classes, steps.num_devices)
    for _, batch_size in set(batches):
        steps.check_batch_size("config.batch_size", batch_size)
    steps.check_batch_size("config.eval_batch_size", config.eval_batch_size)
    hyperparameters = create_hyperparameters(config, steps_per_epoch=len(batches))
    options = {field.name: config[field.name] for field in dataclasses.fields(Options)}
    return Run(
        options=Options(**options),
        names=Names(
            run=config.name,
            dataset=config.dataset,
            student=student_model(config),
            teacher=config.teacher.model,
            imports=tuple(config.imports),
        ),
        record=to_record(config.to_dict(), sections_in_use(config)),
        workdir=workdir,
        task=task,
        steps=steps,
        batches=batches,
        train=steps.replicate(dataset.train),
        held_out=eval_examples,
        eval_examples=steps.replicate(eval_examples),
        split=split,
        dataset=dataset,
        teacher=teacher,
        replicated_teacher=steps.replicate(teacher),
        hyperparameters=hyperparameters,
        replicated_hyperparameters=steps.replicate_students(
            [hyperparameters] * config.num_seeds
        ),
        start=load_init_checkpoint(config, task, dataset.num_classes),
    )


def split_data(config: ConfigDict, dataset: Dataset) -> tuple[Dataset, Examples, str]:
    """Splits off what epochs are evaluated on.

    Returns:
      The data set without what is held out; the examples that epochs are evaluated on;
      and the name of that split, `test` or `validation`.
    """
    if not config.validation_size:
        return dataset, dataset.test, "test"
    dataset, held_out = hold_out(
        dataset, config.validation_size, config.validation_seed
    )
    return dataset, held_out, "validation"


def check_networks(
    config: ConfigDict, task: Task, num_classes: int, num_devices: int
) -> None:
    """Checks that networks of a user's own fit the data set and the devices.

    Raises:
      UserError: the logits have another shape, or batch norm can't be synchronised.
    """
    names = {config.student: task.student, config.teacher.model: task.teacher}
    for name, network in names.items():
        if network is not None:
            check_logits(name, network, num_classes, task.image_shape)
            check_axis(name, network, task.axis_name, num_devices, task.image_shape)


def create_ascent(config: ConfigDict) -> tuple[DisagreementAugmentation, float]:
    """Returns the disagreement's ascent and its α, whatever augments the batches."""
    settings, scalars = declarations.split(
        DisagreementAugmentation, config.disagreement.to_dict()
    )
    return DisagreementAugmentation(**settings), scalars["learning_rate"]


def student_model(config: ConfigDict) -> str:
    """Returns the name of the network that is trained, see `create_model`."""
    if METHODS[config.method].reuses_classifier:
        return reusing(config.student, config.teacher.model)
    return str(config.student)


def create_task(config: ConfigDict, dataset: Dataset) -> Task:
    """Creates what is trained, from the fields that shape the compiled steps."""
    _, height, width, channels = dataset.train.images.shape
    axis_name = batch_axis(config.parallel)
    precision = PRECISIONS[config.precision]

    def network(name: str) -> nn.Module:
        return create_model(name, dataset.num_classes, axis_name=axis_name, **precision)

    settings, _ = declarations.split(METHODS[config.method], _method_section(config))
    augmentation: Any = AUGMENTATIONS[config.augmentation]
    of_augmentation, _ = declarations.split(augmentation, _augmentation_section(config))
    return Task(
        student=network(student_model(config)),
        teacher=network(config.teacher.model) if config.teacher.model else None,
        method=create_method(
            config.method, axis_name=axis_name, **precision, **settings
        ),
        preprocessing=dataset.preprocessing,
        augmentation=augmentation(**of_augmentation),
        optimizer=Optimizer(
            name=config.optimizer.name,
            schedule=config.optimizer.schedule,
            clips=config.optimizer.clip_norm > 0,
            decay_bias_and_norm=config.optimizer.decay_bias_and_norm,
        ),
        smooth_labels=config.label_smoothing > 0,
        average_weights=config.ema_decay > 0,
        num_examples=len(dataset.train.labels),
        image_shape=(height, width, channels),
        axis_name=axis_name,
    )


def create_hyperparameters(config: ConfigDict, steps_per_epoch: int) -> Hyperparameters:
    """Creates the run's scalars, which are traced."""
    _, of_method = declarations.split(METHODS[config.method], _method_section(config))
    if not config.use_labels:
        of_method["ce_weight"] = 0.0
    _, of_augmentation = declarations.split(
        AUGMENTATIONS[config.augmentation], _augmentation_section(config)
    )
    return Hyperparameters(
        method=of_method,
        augmentation=of_augmentation,
        optimizer=_optimizer_hyperparameters(config, steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        label_smoothing=config.label_smoothing,
        ema_decay=config.ema_decay,
    )


def _optimizer_hyperparameters(
    config: ConfigDict, steps_per_epoch: int
) -> OptimizerHyperparameters:
    optimizer = config.optimizer
    return OptimizerHyperparameters(
        learning_rate=optimizer.learning_rate,
        decay_rate=optimizer.decay_rate,
        decay_steps=np.array(optimizer.decay_epochs, np.int32) * steps_per_epoch,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        dot_delta=optimizer.dot_delta,
        warmup_steps=optimizer.warmup_epochs * steps_per_epoch,
        num_steps=config.num_epochs * steps_per_epoch,
        clip_norm=optimizer.clip_norm,
    )


def _method_section(config: ConfigDict) -> dict[str, Any]:
    return _section(config, config.method)


def _augmentation_section(config: ConfigDict) -> dict[str, Any]:
    return _section(config, sections_in_use(config)["augmentation"])


def _section(config: ConfigDict, name: str) -> dict[str, Any]:
    section = config.get(name)
    fields: dict[str, Any] = section.to_dict() if section else {}
    return fields
