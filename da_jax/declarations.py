"""Declarations of the config fields of methods and augmentations.

A *hyperparameter* is a traced scalar, so changing it doesn't recompile. A *setting* is
a static attribute. The class that uses them declares both, with a default, a range and
a description:

    class AT(Method):
        hyperparameters: ClassVar = {
            "feat_weight": Declaration(1000.0, NOT_NEGATIVE, "weight of the loss"),
        }
        power: int = setting(2, AT_LEAST_ONE, "exponent of the activations")

Config sections, their checks and the documentation's tables are generated from them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """The values that a field accepts.

    Attributes:
      contains: returns whether a value is accepted.
      description: of the accepted values; completes "it must be …".
    """

    contains: Callable[[Any], bool]
    description: str


POSITIVE = Range(lambda value: 0 < value < float("inf"), "positive")
NOT_NEGATIVE = Range(lambda value: 0 <= value < float("inf"), "at least 0")
AT_LEAST_ONE = Range(lambda value: value >= 1, "at least 1")
BELOW_ONE = Range(lambda value: 0 <= value < 1, "at least 0 and below 1")
PROBABILITY = Range(lambda value: 0 <= value <= 1, "from 0 to 1")
BOOLEAN = Range(lambda value: isinstance(value, bool), "True or False")


@dataclasses.dataclass(frozen=True)
class Names:
    """The range of a field that names an entry of a table.

    Attributes:
      kind: what an entry is called.
      table: the entries; a user's modules may add to it.
      optional: whether the field may be empty.
      is_name: returns whether a value is a name; by default whether it is in the table.
    """

    kind: str
    table: Mapping[str, Any] | tuple[str, ...]
    optional: bool = False
    is_name: Callable[[Any], bool] | None = None

    @property
    def description(self) -> str:
        """The known names."""
        return f"{', '.join(self.table)}{'; or empty' if self.optional else ''}"

    def contains(self, value: Any) -> bool:
        """Returns whether the field may have this value."""
        is_name = self.is_name or self.table.__contains__
        return (self.optional and not value) or is_name(value)


class Declaration(NamedTuple):
    """The declaration of a config field.

    Attributes:
      default: its default value.
      range: the accepted values, or the table of their names.
      help: a description of a few words.
    """

    default: Any
    range: Range | Names
    help: str


def setting(default: Any, range: Range | Names, help: str) -> Any:
    """Declares a static attribute, as a dataclass field with metadata."""
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
    """Returns the settings that a dataclass and its base classes declare."""
    return {
        field.name: field.metadata["setting"]
        for field in dataclasses.fields(cls)
        if "setting" in field.metadata
    }


def declarations(cls: type) -> dict[str, Declaration]:
    """Returns the declarations of a class's config section."""
    return settings(cls) | hyperparameters(cls)


def section(cls: type) -> dict[str, Any]:
    """Returns a class's config section with the defaults."""
    return {name: field.default for name, field in declarations(cls).items()}


def split(
    cls: Any, section: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float | int]]:
    """Splits a config section into settings and hyperparameters.

    The attributes of the class are settings, all other fields hyperparameters.
    Declared hyperparameters that the section lacks have their defaults.

    Args:
      cls: the class that the section configures.
      section: values by field name.

    Returns:
      Keyword arguments of `cls`, and scalars: ints where the declared default is an
      int, else floats.
    """
    attributes = {field.name for field in dataclasses.fields(cls)}
    fixed = {name: value for name, value in section.items() if name in attributes}
    defaults = {name: field.default for name, field in hyperparameters(cls).items()}
    scalars = defaults | {k: v for k, v in section.items() if k not in attributes}
    return fixed, {
        name: int(value) if isinstance(defaults.get(name), int) else float(value)
        for name, value in scalars.items()
    }
