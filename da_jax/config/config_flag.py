"""The flag --config and its overrides, which the commands that train share."""

import sys

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from da_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The run's config, configs/STUDENT.py[:VARIANT]; --config.FIELD=VALUE overrides.",
)


def parse(arguments: list[str], command: str) -> ConfigDict:
    """The config that a command line names; its other flags are parsed too.

    Args:
      arguments: the command line.
      command: the module whose flags `--help` lists.

    Raises:
      UserError: a flag or the config is none.
    """
    app.define_help_flags()
    for flag in flags.FLAGS.get_key_flags_for_module(command):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    try:
        flags.FLAGS(arguments)
        if CONFIG.value is None:
            raise UserError("no config: give one with --config=configs/resnet8x4.py")
        CONFIG.value.get("name")  # a config that could not be loaded raises only now
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        # The flag's own error carries the traceback of what a config file raised.
        message = str(error).rpartition("UserError: ")[2]
        raise UserError(" ".join(message.split())) from error
    return CONFIG.value
