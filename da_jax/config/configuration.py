"""From a config's fields to what a run is made of, and what they may hold."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np
from ml_collections import ConfigDict

from da_jax.augmentations import AUGMENTATIONS
from da_jax.augmentations.disagreement import DIVERGENCES, DisagreementAugmentation
from da_jax.config.fields import flatten
from da_jax.data import DATASETS, Dataset
from da_jax.errors import UserError, unknown_name
from da_jax.methods import METHODS, create_method
from da_jax.models import MODELS, create_model
from da_jax.models.network import PRECISIONS
from da_jax.training.optim import OPTIMIZERS
from da_jax.training.parallel import SPLITS, batch_axis
from da_jax.training.state import Hyperparameters, Problem
from da_jax.training.weights_and_biases import MODES

NAMES: dict[str, tuple[str, Any]] = {
    "dataset": ("dataset", DATASETS),
    "student": ("model", MODELS),
    "teacher.model": ("model", MODELS),
    "method": ("method", METHODS),
    "augmentation": ("augmentation", ("none", *AUGMENTATIONS)),
    "precision": ("precision", PRECISIONS),
    "parallel": ("split over the devices", SPLITS),
    "optimizer.name": ("optimizer", OPTIMIZERS),
    "disagreement.divergence": ("divergence", DIVERGENCES),
    "wandb.mode": ("mode", MODES),
}
"""Fields that name an entry of a table: what it is called, and the table."""

OPTIONAL_NAMES = ("teacher.model", "wandb.mode")
"""Those of these fields that may be empty."""

Range = tuple[Callable[[Any], bool], str]
"""A test of a value, and how to say it."""

POSITIVE: Range = (lambda value: 0 < value < float("inf"), "positive")
NOT_NEGATIVE: Range = (lambda value: 0 <= value < float("inf"), "at least 0")
AT_LEAST_ONE: Range = (lambda value: value >= 1, "at least 1")
BELOW_ONE: Range = (lambda value: 0 <= value < 1, "at least 0 and below 1")
SEED: Range = (lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1")
PROBABILITY: Range = (lambda value: 0 <= value <= 1, "from 0 to 1")

RANGES: dict[str, Range] = {
    "seed": SEED,
    "num_seeds": AT_LEAST_ONE,
    "train_size": (lambda value: value >= 0, "at least 0 (0: all)"),
    "train_seed": SEED,
    "validation_size": NOT_NEGATIVE,
    "validation_seed": SEED,
    "num_epochs": AT_LEAST_ONE,
    "batch_size": (lambda value: value >= 2, "at least 2"),
    "eval_batch_size": AT_LEAST_ONE,
    "steps_per_call": (lambda value: value >= 0, "at least 0 (0: automatic)"),
    "profile_steps": (lambda value: value >= 0, "at least 0 (0: no trace)"),
    "gallery_every": (lambda value: value >= 0, "at least 0 (0: never)"),
    "eval_every": AT_LEAST_ONE,
    "checkpoint_every": AT_LEAST_ONE,
    "optimizer.learning_rate": POSITIVE,
    "optimizer.momentum": BELOW_ONE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.dot_delta": BELOW_ONE,
    "optimizer.decay_rate": (lambda value: 0 < value <= 1, "above 0, at most 1"),
    "optimizer.decay_epochs": (
        lambda value: list(value) == sorted(set(value)) and min(value, default=1) >= 1,
        "epochs from 1 on, each later than the one before",
    ),
    "disagreement.steps": NOT_NEGATIVE,
    "disagreement.learning_rate": NOT_NEGATIVE,
    "disagreement.probability": PROBABILITY,
    "disagreement.target": NOT_NEGATIVE,
    "fgsm.learning_rate": NOT_NEGATIVE,
    "fgsm.probability": PROBABILITY,
    "pgd.steps": NOT_NEGATIVE,
    "pgd.learning_rate": NOT_NEGATIVE,
    "pgd.probability": PROBABILITY,
    "pgd.radius": NOT_NEGATIVE,
    "disagreement.reference_batch": (lambda value: value >= 0, "at least 0 (0: off)"),
}
"""What the values of fields may be."""

POSITIVE_OF_METHODS = ("temperature", "variance", "warmup")
"""A method's numbers that are; the others are not negative."""


def check_config(config: ConfigDict) -> None:
    """Refuses a config that can't be meant.

    Raises:
      UserError: names the field, what it holds and what it may hold.
    """
    fields = dict(flatten(config.to_dict()))
    for field, (kind, known) in NAMES.items():
        optional = field in OPTIONAL_NAMES and not fields[field]
        if not optional and fields[field] not in known:
            raise unknown_name(f"{kind} in config.{field}", fields[field], known)
    for field, allowed in (RANGES | _method_ranges(config)).items():
        if field in fields:
            _check_range(field, fields[field], allowed)
    if config.profile_steps and config.num_epochs < 2:
        raise UserError(
            "config.profile_steps traces a run's second epoch, but config.num_epochs"
            " is 1; train for 2"
        )
    if config.gallery_every and not config.teacher.model:
        raise UserError(
            "config.gallery_every shows where student and teacher disagree, but"
            " config.teacher.model is empty"
        )
    uses_teacher = METHODS[config.method].uses_teacher
    if (uses_teacher or config.augmentation != "none") and not config.teacher.model:
        raise UserError(
            f"config.teacher.model is empty, but method {config.method} with"
            f" augmentation {config.augmentation} needs a"
            f" teacher; name one of {', '.join(MODELS)}"
        )


def _check_range(field: str, value: Any, allowed: Range) -> None:
    is_fine, description = allowed
    if not is_fine(value):
        raise UserError(f"config.{field} is {value!r}; it must be {description}")


def _method_ranges(config: ConfigDict) -> dict[str, Range]:
    """What the fields of the method's section may be."""
    ranges = {}
    for name, value in _method_section(config).items():
        allowed = NOT_NEGATIVE
        if name in POSITIVE_OF_METHODS:
            allowed = POSITIVE
        elif type(value) is int and name != "hint_layer":
            allowed = AT_LEAST_ONE
        ranges[f"{config.method}.{name}"] = allowed
    return ranges


def create_problem(config: ConfigDict, dataset: Dataset) -> Problem:
    """What is trained, from the fields that shape the program."""
    axis_name = batch_axis(config.parallel)

    def network(name: str) -> nn.Module:
        return create_model(
            name,
            dataset.num_classes,
            axis_name=axis_name,
            **PRECISIONS[config.precision],
        )

    teacher = None
    if config.teacher.model:
        teacher = network(config.teacher.model)
    settings, _ = _split(_method_section(config))
    augmentation = None
    if config.augmentation != "none":
        ascent_settings, _ = _split(_ascent_section(config))
        augmentation = AUGMENTATIONS[config.augmentation](**ascent_settings)
    return Problem(
        student=network(config.student),
        teacher=teacher,
        method=create_method(
            config.method,
            axis_name=axis_name,
            **PRECISIONS[config.precision],
            **settings,
        ),
        augmentation=augmentation,
        preprocessing=dataset.preprocessing,
        optimizer=config.optimizer.name,
        num_examples=len(dataset.train.labels),
        axis_name=axis_name,
    )


def create_hyperparameters(config: ConfigDict, steps_per_epoch: int) -> Hyperparameters:
    """The run's numbers, arguments of the program."""
    _, weights = _split(_method_section(config))
    if not config.use_labels:
        weights["ce_weight"] = 0.0
    _, ascent = _split(_ascent_section(config))
    optimizer = config.optimizer
    return Hyperparameters(
        method=dict[str, Any](weights),
        ascent_learning_rate=ascent["learning_rate"],
        ascent_target=ascent.get("target", 0.0),
        ascent_steps=int(ascent.get("steps", 1)),
        ascent_probability=ascent["probability"],
        ascent_radius=ascent.get("radius", 0.0),
        learning_rate=optimizer.learning_rate,
        decay_rate=optimizer.decay_rate,
        decay_steps=np.array(optimizer.decay_epochs, np.int32) * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        dot_delta=optimizer.dot_delta,
    )


def create_ascent(config: ConfigDict) -> tuple[DisagreementAugmentation, float]:
    """The disagreement's ascent and its α, whatever moves the run's batches."""
    settings, numbers = _split(config.disagreement.to_dict())
    return DisagreementAugmentation(**settings), numbers["learning_rate"]


def _method_section(config: ConfigDict) -> dict[str, Any]:
    section = config.get(config.method)
    return section.to_dict() if section else {}


def _ascent_section(config: ConfigDict) -> dict[str, Any]:
    section = config.augmentation
    if section in ("none", "noise"):  # noise goes as far as the ascent
        section = "disagreement"
    return config[section].to_dict()


def _split(section: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A section's fixed settings and its numbers: floats, and how many steps."""
    numbers = {
        name: value
        for name, value in section.items()
        if type(value) is float or name == "steps"
    }
    settings = {name: value for name, value in section.items() if name not in numbers}
    return settings, numbers
