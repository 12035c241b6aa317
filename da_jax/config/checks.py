"""What the fields of a config may hold."""

from typing import Any

from ml_collections import ConfigDict

from da_jax import declarations
from da_jax.augmentations import AUGMENTATIONS
from da_jax.config.fields import FIELDS
from da_jax.config.record import flatten
from da_jax.declarations import NOT_NEGATIVE, Names, Range
from da_jax.errors import UserError, unknown_name
from da_jax.methods import METHODS
from da_jax.models import MODELS


def check_config(config: ConfigDict) -> None:
    """Refuses a config that can't be meant.

    Raises:
      UserError: names the field, what it holds and what it may hold.
    """
    fields = dict(flatten(config.to_dict()))
    for field, declared in FIELDS.items():
        _check_range(field, fields[field], declared.range)
    for field, allowed in _declared_ranges(config).items():
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
    _check_recipe(config)
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


def _check_recipe(config: ConfigDict) -> None:
    warmup_epochs, num_epochs = config.optimizer.warmup_epochs, config.num_epochs
    if warmup_epochs >= num_epochs:
        raise UserError(
            f"config.optimizer.warmup_epochs is {warmup_epochs:g}, but"
            f" config.num_epochs is {num_epochs}; the warm-up must be shorter"
        )
    if config.label_smoothing and not config.use_labels:
        raise UserError(
            f"config.label_smoothing is {config.label_smoothing:g}, but"
            " config.use_labels=False drops the cross-entropy; set one of them only"
        )


def _check_range(field: str, value: Any, allowed: Range | Names) -> None:
    if allowed.contains(value):
        return
    if isinstance(allowed, Names):
        raise unknown_name(f"{allowed.kind} in config.{field}", value, allowed.table)
    raise UserError(f"config.{field} is {value!r}; it must be {allowed.description}")


def _declared_ranges(config: ConfigDict) -> dict[str, Range | Names]:
    """The ranges of the sections of the method and of all augmentations.

    Numbers that a method doesn't declare are at least 0.
    """
    method: Any = METHODS[config.method]
    undeclared = config.get(config.method, {})
    ranges: dict[str, Range | Names] = {
        f"{config.method}.{name}": NOT_NEGATIVE
        for name, value in undeclared.items()
        if type(value) in (int, float)
    }
    for name, cls in {config.method: method, **AUGMENTATIONS}.items():
        declared = declarations.declarations(cls)
        ranges |= {f"{name}.{field}": of.range for field, of in declared.items()}
    return ranges
