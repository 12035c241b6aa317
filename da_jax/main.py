"""Trains a student: `python -m da_jax.main --config=configs/resnet8x4.py`."""

import sys
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from da_jax import locations
from da_jax.command_line import run
from da_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The run's config, configs/STUDENT.py[:VARIANT]; --config.FIELD=VALUE overrides.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run's folder (default: runs/ and the config's name)."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes that the cluster's environment names."
)
_COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "Join the processes of this first one, HOST:PORT."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes there are.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0.", lower_bound=0
)


def main() -> None:
    config = _parse(sys.argv)
    workdir = Path(_WORKDIR.value or f"runs/{config.name}")
    locations.check_prerequisites(config)
    from da_jax import compilation, parallel, results, train  # after what is missing

    compilation.configure_compiler()
    if _DISTRIBUTED.value or _COORDINATOR_ADDRESS.value:
        parallel.start_processes(
            _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value
        )
    finished = train.train_and_evaluate(config, workdir)
    if parallel.is_first_process():
        print(results.summary_line(finished))
        print(f"the run is in {workdir}, its best student in {workdir / 'best'}")


def _parse(arguments: list[str]) -> ConfigDict:
    app.define_help_flags()
    try:
        flags.FLAGS(arguments)
        if _CONFIG.value is None:
            raise UserError("no config: give one with --config=configs/resnet8x4.py")
        _CONFIG.value.get("name")  # a config that could not be loaded raises only now
    except (flags.Error, AttributeError, KeyError, TypeError, OSError) as error:
        # The flag's own error carries the traceback of what a config file raised.
        message = str(error).rpartition("UserError: ")[2]
        raise UserError(" ".join(message.split())) from error
    return _CONFIG.value


if __name__ == "__main__":
    run(main)
