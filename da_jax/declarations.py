"""How methods and augmentations declare what a config may set.

A *hyperparameter* is a scalar that is traced, so changing it doesn't recompile. A
*setting* is an attribute that shapes the compiled program. Both are declared once, with
a default, a range and a description, in the class that uses them; config sections,
checks and the documentation's tables are made from these declarations.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """The values that a field accepts.

    Attributes:
      contains: whether a value is one of them.
      description: completes "it must be …".
    """

    contains: Callable[[Any], bool]
    description: str


POSITIVE = Range(lambda value: 0 < value < float("inf"), "positive")
NOT_NEGATIVE = Range(lambda value: 0 <= value < float("inf"), "at least 0")
AT_LEAST_ONE = Range(lambda value: value >= 1, "at least 1")
BELOW_ONE = Range(lambda value: 0 <= value < 1, "at least 0 and below 1")
PROBABILITY = Range(lambda value: 0 <= value <= 1, "from 0 to 1")
BOOLEAN = Range(lambda value: isinstance(value, bool), "True or False")


class Declaration(NamedTuple):
    """A field of a config section.

    Attributes:
      default: its value unless a config sets another.
      range: the values it accepts.
      help: what it is, in a few words.
    """

    default: Any
    range: Range
    help: str


def setting(default: Any, range: Range, help: str) -> Any:
    """A dataclass field that a config may set."""
    declaration = Declaration(default, range, help)
    return dataclasses.field(default=default, metadata={"setting": declaration})


def hyperparameters(cls: type) -> dict[str, Declaration]:
    """Returns the hyperparameters that a class and its base classes declare.

    They are merged from the attributes `hyperparameters` of these classes, by name; a
    class removes an inherited one by declaring None.
    """
    declared: dict[str, Declaration | None] = {}
    for base in reversed(cls.__mro__):
        declared |= vars(base).get("hyperparameters", {})
    return {name: field for name, field in declared.items() if field is not None}


def settings(cls: Any) -> dict[str, Declaration]:
    """The settings that a dataclass and its base classes declare."""
    return {
        field.name: field.metadata["setting"]
        for field in dataclasses.fields(cls)
        if "setting" in field.metadata
    }


def declarations(cls: type) -> dict[str, Declaration]:
    """All fields of a class's config section."""
    return settings(cls) | hyperparameters(cls)


def section(cls: type) -> dict[str, Any]:
    """A class's config section, with the defaults."""
    return {name: field.default for name, field in declarations(cls).items()}


def split(
    cls: Any, section: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float | int]]:
    """Splits a config section into settings and hyperparameters.

    A field that is neither an attribute of the class nor declared is a hyperparameter.

    Args:
      cls: the class that the section configures.
      section: field names to values.

    Returns:
      Arguments of `cls`, and scalars: ints where an int is declared, else floats.
    """
    attributes = {field.name for field in dataclasses.fields(cls)}
    declared = hyperparameters(cls)
    fixed = {name: value for name, value in section.items() if name in attributes}
    scalars = {
        name: int(value)
        if name in declared and isinstance(declared[name].default, int)
        else float(value)
        for name, value in section.items()
        if name not in attributes
    }
    return fixed, scalars
