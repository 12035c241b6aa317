"""Trains a student or a teacher.

python -m da_jax.main --config=resnet8x4
da-jax train --config=resnet8x4:kd --config.seed=1 --workdir=runs/seed1

`--help=config` lists all fields of the config, with defaults and ranges.
"""

import sys
from pathlib import Path

from absl import flags

from da_jax.commands.command_line import exit_on_error
from da_jax.commands.config_help import print_help
from da_jax.config import command_line

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


@exit_on_error()
def main() -> None:
    print_help(sys.argv)
    command_line.parse_flags(sys.argv, __name__)
    from da_jax.commands import training  # imported late, for a fast --help
    from da_jax.training.train import train

    processes = None
    if _DISTRIBUTED.value or _COORDINATOR_ADDRESS.value:
        processes = training.Processes(
            _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value
        )
    workdir = Path(_WORKDIR.value) if _WORKDIR.value else None
    config = command_line.read_config()
    run = training.build(config, workdir, processes)
    with training.watched(run, config) as callbacks:
        finished = train(run, callbacks)
    training.print_results(run, finished)
