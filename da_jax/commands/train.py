"""Trains a student: `python -m da_jax.main --config=configs/resnet8x4.py`."""

import sys
from pathlib import Path

from absl import flags

from da_jax.config import config_flag
from da_jax.config.prerequisites import check_prerequisites
from da_jax.training import weights_and_biases

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
    config = config_flag.parse(sys.argv, __name__)
    workdir = Path(_WORKDIR.value or f"runs/{config.name}")
    check_prerequisites(config)
    weights_and_biases.check(config)
    from da_jax.training import (  # after what is missing
        compilation,
        parallel,
        results,
        train,
    )

    compilation.configure_compiler()
    if _DISTRIBUTED.value or _COORDINATOR_ADDRESS.value:
        parallel.start_processes(
            _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value
        )
    finished = train.train_and_evaluate(config, workdir)
    if parallel.is_first_process():
        print(results.summary_line(finished))
        print(f"the run is in {workdir}, its best student in {workdir / 'best'}")
