"""What the fields of a config may hold."""

from typing import Any

from ml_collections import ConfigDict

from da_jax import declarations
from da_jax.ascent.disagreement import DIVERGENCES
from da_jax.augmentations import AUGMENTATIONS
from da_jax.config.record import flatten
from da_jax.data import DATASETS
from da_jax.declarations import (
    AT_LEAST_ONE,
    BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
)
from da_jax.errors import UserError, unknown_name
from da_jax.methods import METHODS
from da_jax.models import MODELS, is_model
from da_jax.models.network import PRECISIONS
from da_jax.training.optimizers import OPTIMIZERS
from da_jax.training.parallel import PARALLEL
from da_jax.training.weights_and_biases import MODES

NAMES: dict[str, tuple[str, Any]] = {
    "dataset": ("dataset", DATASETS),
    "student": ("model", MODELS),
    "teacher.model": ("model", MODELS),
    "method": ("method", METHODS),
    "augmentation": ("augmentation", AUGMENTATIONS),
    "precision": ("precision", PRECISIONS),
    "parallel": ("split over the devices", PARALLEL),
    "optimizer.name": ("optimizer", OPTIMIZERS),
    "disagreement.divergence": ("divergence", DIVERGENCES),
    "wandb.mode": ("mode", MODES),
}
"""Fields that name an entry of a table: what it is called, and the table."""

OPTIONAL_NAMES = ("teacher.model", "wandb.mode")
"""Those of these fields that may be empty."""

SEED = Range(lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1")

RANGES: dict[str, Range] = {
    "seed": SEED,
    "num_seeds": AT_LEAST_ONE,
    "train_size": Range(lambda value: value >= 0, "at least 0 (0: all)"),
    "train_seed": SEED,
    "validation_size": NOT_NEGATIVE,
    "validation_seed": SEED,
    "num_epochs": AT_LEAST_ONE,
    "batch_size": Range(lambda value: value >= 2, "at least 2"),
    "eval_batch_size": AT_LEAST_ONE,
    "steps_per_call": Range(lambda value: value >= 0, "at least 0 (0: automatic)"),
    "profile_steps": Range(lambda value: value >= 0, "at least 0 (0: no trace)"),
    "gallery_every": Range(lambda value: value >= 0, "at least 0 (0: never)"),
    "eval_every": AT_LEAST_ONE,
    "checkpoint_every": AT_LEAST_ONE,
    "optimizer.learning_rate": POSITIVE,
    "optimizer.momentum": BELOW_ONE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.dot_delta": BELOW_ONE,
    "optimizer.decay_rate": Range(lambda value: 0 < value <= 1, "above 0, at most 1"),
    "optimizer.decay_epochs": Range(
        lambda value: list(value) == sorted(set(value)) and min(value, default=1) >= 1,
        "epochs from 1 on, each later than the one before",
    ),
}
"""What the values of fields may be."""


def check_config(config: ConfigDict) -> None:
    """Refuses a config that can't be meant.

    Raises:
      UserError: names the field, what it holds and what it may hold.
    """
    fields = dict(flatten(config.to_dict()))
    for field, (kind, known) in NAMES.items():
        optional = field in OPTIONAL_NAMES and not fields[field]
        is_known = is_model if field == "teacher.model" else known.__contains__
        if not optional and not is_known(fields[field]):
            raise unknown_name(f"{kind} in config.{field}", fields[field], known)
    for field, allowed in (RANGES | _declared_ranges(config)).items():
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
    uses_teacher = (
        METHODS[config.method].uses_teacher
        or AUGMENTATIONS[config.augmentation].uses_teacher
    )
    if uses_teacher and not config.teacher.model:
        raise UserError(
            f"config.teacher.model is empty, but method {config.method} with"
            f" augmentation {config.augmentation} needs a"
            f" teacher; name one of {', '.join(MODELS)}"
        )


def _check_range(field: str, value: Any, allowed: Range) -> None:
    if not allowed.contains(value):
        raise UserError(
            f"config.{field} is {value!r}; it must be {allowed.description}"
        )


def _declared_ranges(config: ConfigDict) -> dict[str, Range]:
    """The ranges of the sections of the method and of all augmentations.

    Numbers that a method doesn't declare are at least 0.
    """
    method: Any = METHODS[config.method]
    undeclared = config.get(config.method, {})
    ranges = {
        f"{config.method}.{name}": NOT_NEGATIVE
        for name, value in undeclared.items()
        if type(value) in (int, float)
    }
    for name, cls in {config.method: method, **AUGMENTATIONS}.items():
        declared = declarations.declarations(cls)
        ranges |= {f"{name}.{field}": of.range for field, of in declared.items()}
    return ranges
