"""A config as files keep it: a schema version, and only the sections in use.

Without JAX, so that reports start quickly.
"""

from collections.abc import Iterator, Mapping
from typing import Any

SCHEMA = 1
"""The version of `config.json`. Version 0 had every section and no `schema`."""

RESUMABLE_FIELDS = (
    "schema",
    "imports",
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
"""Fields that may differ when a run is resumed: they don't change its results."""

ALWAYS = {"teacher", "optimizer"}
"""The sections that every run reads."""


def to_record(config: Mapping[str, Any], sections: Mapping[str, str]) -> dict[str, Any]:
    """Returns a config's schema version, and the config without unused sections.

    Args:
      config: every field.
      sections: see `da_jax.config.defaults.sections_in_use`.
    """
    used = {*ALWAYS, *sections.values()}
    if config.get("wandb", {}).get("mode"):
        used.add("wandb")
    return {"schema": SCHEMA, **_with_sections(config, used)}


def _with_sections(config: Mapping[str, Any], sections: set[str]) -> dict[str, Any]:
    return {
        name: value
        for name, value in config.items()
        if not isinstance(value, Mapping) or name in sections
    }


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each field's dotted name and value; tuples as lists, as JSON has them."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, list(value) if isinstance(value, tuple) else value


def differing_configs(
    config: Mapping[str, Any],
    recorded: Mapping[str, Any],
    defaults: Mapping[str, Any],
    sections: Mapping[str, str],
) -> list[str]:
    """Lists the fields in which two configs would lead to different results.

    Args:
      config: the present one.
      recorded: one from a file, maybe of an earlier version.
      defaults: of the fields that the file may lack.
      sections: of `config`, see `da_jax.config.defaults.sections_in_use`.
    """
    # The section of another method or augmentation isn't compared field by field: the
    # name differs already.
    shared = ALWAYS | {
        section
        for field, section in sections.items()
        if recorded.get(field, defaults[field]) == config[field]
    }
    return differing_fields(
        _with_sections(config, shared),
        _with_sections(recorded, shared),
        _with_sections(defaults, shared),
    )


def differing_fields(
    content: Mapping[str, Any],
    recorded: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> list[str]:
    """Lists the fields in which two nested mappings differ, with both values.

    Args:
      content: the present one.
      recorded: one from a file.
      defaults: of fields that one of them lacks.
    """
    now, then = dict(flatten(content)), dict(flatten(recorded))
    default = dict(flatten(defaults or {}))
    differing = []
    for field in sorted(now.keys() | then.keys()):
        there, here = (of.get(field, default.get(field)) for of in (then, now))
        if there != here and field not in RESUMABLE_FIELDS:
            differing.append(f"{field} ({there!r} there, {here!r} now)")
    return differing
