"""The search space: ranges or choices for fields of a config.

A space file is TOML, with a table per field:

    ["disagreement.learning_rate"]
    low = 0.001
    high = 0.1
    log = true

    ["disagreement.steps"]
    low = 1
    high = 3

    [method]
    choices = ["KD", "DKD"]
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from da_jax.config.checks import check_config
from da_jax.config.record import flatten
from da_jax.errors import UserError

Space = dict[str, BaseDistribution]
"""Maps a config field to the distribution of its values."""

DEFAULT: dict[str, dict[str, Any]] = {
    "disagreement.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "disagreement.steps": {"low": 1, "high": 3},
    "disagreement.probability": {"low": 0.1, "high": 1.0},
}
"""α, e and p of Disagreement Augmentation."""

FIXED = (
    *("seed", "num_seeds", "num_epochs", "dataset", "data_dir"),
    *("validation_size", "validation_seed", "parallel"),
)
"""Fields that must be the same in all trials, for a fair comparison."""


SPACES = {"da": DEFAULT}
"""The tables of the spaces that have a name."""


def read_space(source: str | Path = "da") -> dict[str, Any]:
    """Returns the tables of a space: one of `SPACES`, or a file.

    Raises:
      UserError: the file can't be read as TOML.
    """
    if str(source) in SPACES:
        return SPACES[str(source)]
    file = Path(source)
    try:
        return tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--space {file} can't be read: {reason}; it is the name of a TOML file, or"
            f" {', '.join(SPACES)}"
        ) from error


def create_space(tables: Mapping[str, Any], config: ConfigDict) -> Space:
    """Creates a space from tables, checked against the config.

    Args:
      tables: by field, `low`, `high` and optionally `log`, or `choices`.
      config: the config that trials vary.

    Raises:
      UserError: a field is unknown or fixed, a table has no range, or a value isn't
        accepted by the config.
    """
    if not tables:
        raise UserError("the space has no field to search")
    known = dict(flatten(config.to_dict()))
    space = {}
    for field, table in tables.items():
        if field not in known:
            raise UserError(f"the space's field {field} isn't one of the config's")
        if field in FIXED:
            raise UserError(
                f"the space's field {field} is the same in all trials: set it by"
                f" --config.{field}"
            )
        space[field] = _distribution(field, table)
    for field, distribution in space.items():
        for value in ends(distribution):
            check_config(with_values(config, {field: value}))
    return space


def _distribution(field: str, table: Any) -> BaseDistribution:
    try:
        if table.keys() == {"choices"}:
            return CategoricalDistribution(table["choices"])
        low, high, log = table["low"], table["high"], table.get("log", False)
        if table.keys() - {"low", "high", "log"}:
            raise ValueError("it has fields other than low, high and log")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log)
        return FloatDistribution(float(low), float(high), log)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the space's field {field} takes low and high (and log = true), or"
            f" choices; {' '.join(str(error).split())}"
        ) from error


def ends(distribution: BaseDistribution) -> list[Any]:
    """Returns the least and greatest values, or all choices."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def with_values(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of `config` with some fields replaced.

    Raises:
      UserError: a value has the wrong type.
    """
    changed = config.copy_and_resolve_references()
    for field, value in values.items():
        try:
            changed.update_from_flattened_dict({field: value})
        except (TypeError, ValueError) as error:
            raise UserError(
                f"the space's field {field} can't be {value!r}: {error}"
            ) from error
    return changed
