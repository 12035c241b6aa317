"""A config's fields by their dotted names, and which of two configs' differ."""

from collections.abc import Iterator, Mapping
from typing import Any

FIELDS_OF_THE_MACHINE = (
    "data_dir",
    "eval_batch_size",
    "checkpoint_every",
    "parallel",
    "steps_per_call",
    "profile_steps",
    "gallery_every",
    "wandb.mode",
    "wandb.project",
)
"""Fields that a run may change when it is resumed: they don't touch its results."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field's dotted name and value; a tuple as the list JSON makes of it."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value


def differing_fields(config: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The fields in which two configs would lead to different results, with values."""
    one, two = dict(flatten(config)), dict(flatten(other))
    return [
        f"{field} ({two.get(field)!r} there, {one.get(field)!r} now)"
        for field in sorted(one.keys() | two.keys())
        if one.get(field) != two.get(field) and field not in FIELDS_OF_THE_MACHINE
    ]
