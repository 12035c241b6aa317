"""The flag --config and its overrides, which the commands that train share."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from da_jax.config.config_files import load_config
from da_jax.config.defaults import defaults
from da_jax.config.record import flatten
from da_jax.errors import UserError
from da_jax.imports import import_modules
from da_jax.storage.model_folders import import_recorded

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The run's config, configs/STUDENT.py[:VARIANT]; --config.FIELD=VALUE overrides.",
)


class _CheckedParser(flags.ArgumentParser):
    """Loads a config, and checks that it has the fields that are overridden."""

    def __init__(self, parser: flags.ArgumentParser) -> None:
        self._parser = parser

    def parse(self, argument: str) -> ConfigDict:
        return load_config(self._parser.parse, argument, sys.argv)

    def flag_type(self) -> str:
        return self._parser.flag_type()


flags.FLAGS["config"].parser = _CheckedParser(flags.FLAGS["config"].parser)


def parse_flags(arguments: list[str], command: str) -> None:
    """Parses a command line.

    Args:
      arguments: the command line.
      command: the module whose flags `--help` lists.

    Raises:
      UserError: a flag isn't known, or its value can't be read.
    """
    app.define_help_flags()
    for flag in flags.FLAGS.get_key_flags_for_module(command):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    with _one_line():
        flags.FLAGS(arguments)


def read_config() -> ConfigDict:
    """Returns the config that the command line names, with every field.

    Raises:
      UserError: there is none, or it can't be loaded.
    """
    if CONFIG.value is None:
        raise UserError("no config: give one with --config=configs/resnet8x4.py")
    return complete(CONFIG.value)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turns absl's errors into a line for the user."""
    try:
        yield
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error.__context__, UserError):  # of `_CheckedParser`
            raise error.__context__ from error
        raise UserError(" ".join(str(error).split())) from error


def complete(config: ConfigDict) -> ConfigDict:
    """Adds the fields that a config of an earlier version lacks, with their defaults.

    It also imports the modules that the config names in `imports`, and those that its
    teacher's folder names.

    Raises:
      UserError: a module can't be imported.
    """
    import_modules(config.get("imports", ()))
    if config.teacher.checkpoint:
        import_recorded(Path(config.teacher.checkpoint), config.teacher.model)
    known = dict(flatten(config.to_dict()))
    missing = {
        field: value
        for field, value in flatten(defaults(config.name, config.student).to_dict())
        if field not in known
    }
    with config.unlocked():
        for field, value in missing.items():
            *sections, name = field.split(".")
            section = config
            for each in sections:
                if each not in section:
                    section[each] = ConfigDict()
                section = section[each]
            section[name] = tuple(value) if isinstance(value, list) else value
    return config
