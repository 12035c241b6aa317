"""Loading of config files, with a line for the user where something is wrong."""

import importlib.resources
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from da_jax.config.record import ALWAYS, flatten
from da_jax.errors import UserError, did_you_mean, near, reason, unknown_name

OVERRIDE = re.compile(r"--?(?:no)?config\.([\w.]+)")
"""An argument that overrides a field, with a group for the field."""


def load_config(
    load: Callable[[str], ConfigDict], path: str, arguments: Sequence[str]
) -> ConfigDict:
    """Loads a config.

    Args:
      load: loads it, given the path.
      path: the name of a bundled config or the path of a file, with or without
        `:VARIANT`.
      arguments: the command line, whose overrides are checked.

    Raises:
      UserError: there is no such file, it raises an error, or it lacks a field that is
        overridden.
    """
    name, colon, variant = path.partition(":")
    file = _find(name)
    try:
        config = load(f"{file}{colon}{variant}")
        config.get("name")  # ml_collections raises some errors at the first use only
    except Exception as error:  # a config file can raise anything
        raise _failure(file, error) from error
    for field in _overridden(arguments):
        if not _has(config, field):
            raise unknown_field(config, field)
    return config


def bundled_configs() -> dict[str, Path]:
    """Returns the files of the bundled configs, by name."""
    folder = Path(str(importlib.resources.files("da_jax.configs")))
    files = sorted(folder.rglob("[!_]*.py"))
    named = {str(file.relative_to(folder).with_suffix("")): file for file in files}
    return {name: file for name, file in named.items() if name != "default"}


def _find(name: str) -> str:
    """Returns the file of a config.

    Raises:
      UserError: the name is neither a file nor a bundled config.
    """
    if Path(name).is_file():
        return name
    bundled = bundled_configs()
    if name in bundled:
        return str(bundled[name])
    if Path(name).suffix != ".py":
        raise unknown_name("bundled config", name, bundled)
    for known in (name.removeprefix("configs/").removesuffix(".py"), Path(name).stem):
        if known in bundled:
            raise UserError(
                f"there is no config {name}; the bundled one is --config={known}"
            )
    raise _missing(Path(name))


def _missing(file: Path) -> UserError:
    others = {other.stem: str(other) for other in file.parent.glob("[!_]*.py")}
    meant = [others[stem] for stem in near(file.stem, others)]
    listed = "" if meant else f"; known: {', '.join(sorted(others.values()))}"
    return UserError(
        f"there is no config {file}{did_you_mean(meant)}{listed if others else ''}"
    )


def _failure(file: str, error: Exception) -> UserError:
    """Describes what a config file raised, with its line."""
    # ml_collections raises errors of its own from those of the file.
    while isinstance(cause := error.__cause__ or error.__context__, Exception):
        error = cause
    if isinstance(error, UserError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == Path(file)]
    where = f", line {lines[-1]}" if lines else ""
    return UserError(
        f"{file} can't be loaded: {type(error).__name__}: {reason(error)}{where}"
    )


def _overridden(arguments: Sequence[str]) -> Iterator[str]:
    for argument in arguments:
        if match := OVERRIDE.match(argument):
            yield match[1]


def _has(config: Any, field: str) -> bool:
    for name in field.split("."):
        if not isinstance(config, ConfigDict) or name not in config:
            return False
        config = config[name]
    return True


def unknown_field(config: ConfigDict, field: str) -> UserError:
    """Creates the error for a field that a config lacks, with those that are near.

    Fields of other sections are near if the last parts of their names are.
    """
    content = config.to_dict()
    section, _, name = field.rpartition(".")
    is_section = isinstance(content.get(section), dict)
    if is_section:
        fields = [each for each, _ in flatten({section: content[section]})]
    else:
        used = {*ALWAYS, content.get("method"), content.get("augmentation")}
        fields = [
            each
            for each, _ in flatten(content)
            if "." not in each or each.partition(".")[0] in used
        ]
    meant = _by_last_part(name, fields)
    if not meant and not is_section:
        meant = near(field, fields)
    listed = "" if meant else f"; known: {', '.join(fields)}"
    return UserError(f"unknown field {field!r}{did_you_mean(meant[:3])}{listed}")


def _by_last_part(name: str, fields: Sequence[str]) -> list[str]:
    """Returns the fields whose last part is `name`, or else is like it.

    Initials are like it: lr is the learning_rate.
    """
    parts = {field: field.rpartition(".")[2] for field in fields}
    names = [name] if name in parts.values() else near(name, parts.values())[:1]
    return [
        field
        for field, part in parts.items()
        if part in names or ("_" in part and _initials(part) == name)
    ]


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_"))
