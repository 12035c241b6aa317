"""The flag --config and its overrides, which the commands that train share.

Doesn't import JAX, so that `--help` and a mistyped flag are answered quickly.
"""

import contextlib
import sys
from collections.abc import Iterator

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from da_jax.config.config_files import load_config
from da_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The run's config: a bundled one, NAME[:VARIANT] such as resnet8x4:kd, or a file,"
    " FILE.py[:VARIANT]; --config.FIELD=VALUE overrides a field.",
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
        flags.FLAGS(arguments)


def read_config() -> ConfigDict:
    """Returns the config that the command line names, as its file made it.

    Raises:
      UserError: there is none.
    """
    if CONFIG.value is None:
        raise UserError("no config: give one, such as --config=resnet8x4")
    return CONFIG.value


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turns absl's errors into a line for the user."""
    try:
        yield
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error.__context__, UserError):  # of `_CheckedParser`
            raise error.__context__ from error
        raise UserError(" ".join(str(error).split())) from error
