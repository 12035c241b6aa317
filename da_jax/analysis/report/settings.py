"""The settings of runs: those that name a row of the results table, and the others."""

from collections.abc import Mapping, Sequence
from typing import Any

from da_jax.analysis.report.formats import setting_text
from da_jax.analysis.report.runs import ReportedRun
from da_jax.config.record import ALWAYS, RESUMABLE_FIELDS, flatten

FIELDS_OF_A_RUN = {"name", "seed", "num_seeds", *RESUMABLE_FIELDS}
"""Fields in which the runs of a row may differ."""

FIELDS_OF_A_PAIR = {"dataset", "student", "teacher.model"}
FIELDS_OF_A_METHOD = {"method", "augmentation"}
"""Fields that a row's pair and method name already."""

MOST_FIELDS = 3
"""The largest number of fields that name a row."""

SHARED_SECTION = "disagreement"
"""The section of augmentations without one of their own."""


def settings(run: ReportedRun) -> dict[str, Any]:
    """Returns the fields of a run's config that decide its results, seeds aside."""
    fields = dict(flatten(_sections_in_use(run.config or {})))
    return {name: fields[name] for name in fields if name not in FIELDS_OF_A_RUN}


def seeds(run: ReportedRun) -> dict[str, Any]:
    """Returns the fields of a run's config that its row doesn't share."""
    config = run.config or {}
    return {name: config[name] for name in ("seed", "num_seeds") if name in config}


def _sections_in_use(config: Mapping[str, Any]) -> dict[str, Any]:
    """Drops the sections of other methods and augmentations, which old files have."""
    augmentation = config.get("augmentation")
    own = augmentation if augmentation in config else SHARED_SECTION
    used = {*ALWAYS, config.get("method"), own if augmentation != "none" else None}
    return {
        name: value
        for name, value in config.items()
        if not isinstance(value, Mapping) or name in used
    }


def differing(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the fields in which the settings of a pair's rows differ.

    A field of a section is compared among the rows that use the section.
    """
    names = dict.fromkeys(name for row in table for name in row)
    return [name for name in names if _differs(table, name)]


def _differs(table: Sequence[Mapping[str, Any]], name: str) -> bool:
    section = name.rpartition(".")[0]
    users = [
        row
        for row in table
        if not section or any(other.startswith(f"{section}.") for other in row)
    ]
    return len({repr(row.get(name)) for row in users}) > 1


def naming(own: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the settings that tell a row from the others of its pair, as text.

    Args:
      own: the row's settings.
      table: those of all rows of the pair.
    """
    named = FIELDS_OF_A_PAIR | FIELDS_OF_A_METHOD
    fields = [name for name in differing(table) if name in own and name not in named]
    texts = [f"{name}={_in_a_name(own[name])}" for name in fields]
    more = [f"and {len(texts) - MOST_FIELDS} more"] * (len(texts) > MOST_FIELDS)
    return texts[:MOST_FIELDS] + more


def _in_a_name(value: Any) -> str:
    text = setting_text(value)
    return f"({text})" if isinstance(value, list) else text


def differ_in_method_alone(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Returns whether two rows have the same settings, method and augmentation aside.

    Sections that only one of them uses belong to its method or augmentation.
    """
    fields = set(differing([one, two])) - FIELDS_OF_A_METHOD
    return not fields
