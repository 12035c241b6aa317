"""The flag --config and its overrides, which the commands that train share.

Doesn't import JAX, so that `--help` and a mistyped flag are answered quickly.
"""

import contextlib
import importlib.resources
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from da_jax.errors import UserError, unknown_name

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The run's config: a bundled one, NAME[:VARIANT] such as resnet8x4:kd, or a file,"
    " FILE.py[:VARIANT]; --config.FIELD=VALUE overrides a field.",
)


def bundled_configs() -> dict[str, Path]:
    """Returns the files of the bundled configs, by name."""
    folder = Path(str(importlib.resources.files("da_jax.configs")))
    files = {
        str(file.relative_to(folder).with_suffix("")): file
        for file in sorted(folder.rglob("*.py"))
    }
    return {
        name: file
        for name, file in files.items()
        if Path(name).name not in ("__init__", "default")
    }


def parse_flags(arguments: list[str], command: str) -> None:
    """Parses a command line.

    Args:
      arguments: the command line.
      command: the module whose flags and docstring `--help` prints.

    Raises:
      UserError: a flag isn't known, or its value can't be read.
    """
    app.define_help_flags()
    sys.modules["__main__"].__doc__ = sys.modules[command].__doc__
    keys = {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(command)}
    for flag in {**keys, "config": flags.FLAGS["config"]}.values():
        flags.FLAGS.register_key_flag_for_module(arguments[0], flag)
    with _one_line():
        flags.FLAGS(_with_files(arguments))


def read_config() -> ConfigDict:
    """Returns the config that the command line names, as its file made it.

    Raises:
      UserError: there is none, or it can't be loaded.
    """
    if CONFIG.value is None:
        raise UserError("no config: give one, such as --config=resnet8x4")
    with _one_line():
        CONFIG.value.get("name")  # a config that could not be loaded raises only now
    return CONFIG.value


def _with_files(arguments: list[str]) -> list[str]:
    """Replaces the name of a bundled config after `--config` by its file."""
    replaced = list(arguments)
    for index, argument in enumerate(arguments):
        flag = re.fullmatch("--?config(=(?P<value>.*))?", argument)
        if flag and flag["value"] is not None:
            replaced[index] = f"--config={_config_file(flag['value'])}"
        elif flag and index + 1 < len(arguments):
            replaced[index + 1] = _config_file(arguments[index + 1])
    return replaced


def _config_file(value: str) -> str:
    """Returns `FILE.py[:VARIANT]` for the value of `--config`.

    Raises:
      UserError: it names neither a file nor a bundled config.
    """
    name, colon, variant = value.partition(":")
    if Path(name).is_file():
        return value
    bundled = bundled_configs()
    if name in bundled:
        return f"{bundled[name]}{colon}{variant}"
    if name.endswith(".py"):
        known = Path(name).stem
        hint = f"; the bundled one is --config={known}" if known in bundled else ""
        raise UserError(f"--config {name} is not a file{hint}")
    raise unknown_name("bundled config", name, bundled)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turns the errors of absl and of config files into a line for the user."""
    try:
        yield
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        # The flag's own error carries the traceback of what a config file raised.
        message = str(error).rpartition("UserError: ")[2]
        raise UserError(" ".join(message.split())) from error
