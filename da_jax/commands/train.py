"""Trains a student: `python -m da_jax.main --config=configs/resnet8x4.py`."""

import contextlib
import dataclasses
import sys
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from da_jax.analysis.gallery import BoundNetwork
from da_jax.analysis.training_gallery import TrainingGallery
from da_jax.augmentations import AUGMENTATIONS
from da_jax.commands.command_line import exit_on_error
from da_jax.commands.progress_bar import ProgressBar, SignalsOnly
from da_jax.config import command_line
from da_jax.config.build import (
    build_run,
    create_ascent,
    load_data,
    load_teacher,
)
from da_jax.config.checks import check_config
from da_jax.config.prerequisites import check_prerequisites
from da_jax.config.workdir import claimed
from da_jax.declarations import table
from da_jax.methods import METHODS
from da_jax.training import (
    compilation,
    devices,
    processes,
    results,
    weights_and_biases,
)
from da_jax.training.run import Run
from da_jax.training.train import train

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
_FIELDS = flags.DEFINE_bool(
    "fields", False, "Print the config fields of methods and augmentations, and exit."
)


@exit_on_error()
def main() -> None:
    command_line.parse_flags(sys.argv, __name__)
    if _FIELDS.value:
        print(table({**METHODS, **AUGMENTATIONS}), end="")
        return
    compilation.configure_compiler()  # before a module of config.imports uses JAX
    joins_others = _DISTRIBUTED.value or _COORDINATOR_ADDRESS.value
    if not joins_others:  # before JAX has devices
        devices.check_devices()
    config = command_line.read_config()
    workdir = Path(_WORKDIR.value or f"runs/{config.name}")
    check_prerequisites(config)
    weights_and_biases.check(config)
    if joins_others:
        processes.start_processes(
            _COORDINATOR_ADDRESS.value, _NUM_PROCESSES.value, _PROCESS_ID.value
        )
        devices.check_devices()
    check_config(config)
    dataset = load_data(config)
    run = build_run(config, workdir, dataset, load_teacher(config, dataset))
    if not processes.is_first_process():
        train(run, SignalsOnly())
        return
    if config.gallery_every:
        run = add_gallery(run, config)
    with claimed(workdir, config), contextlib.closing(ProgressBar()) as bar:
        finished = train(run, bar)
    print(results.summary_line(finished))
    print(f"the run is in {workdir}, its best student in {workdir / 'best'}")


def add_gallery(run: Run, config: ConfigDict) -> Run:
    """Adds what TensorBoard shows of a run, whose config has `gallery_every`."""
    assert run.task.teacher is not None and run.teacher is not None
    gallery = TrainingGallery(
        run.task.student,
        BoundNetwork(run.task.teacher, run.teacher),
        (run.names.student, run.names.teacher),
        run.dataset,
        run.held_out,
        *create_ascent(config),
    )
    return dataclasses.replace(run, gallery=gallery)
