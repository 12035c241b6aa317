"""What the command that trains does once its arguments are read."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from da_jax.analysis.gallery import BoundNetwork
from da_jax.analysis.training_gallery import TrainingGallery
from da_jax.commands.progress_bar import ProgressBar, SignalsOnly
from da_jax.config.build import (
    build_run,
    create_ascent,
    load_data,
    load_teacher,
)
from da_jax.config.checks import check_config
from da_jax.config.completion import complete
from da_jax.config.prerequisites import check_prerequisites
from da_jax.config.workdir import claimed
from da_jax.training import (
    compilation,
    devices,
    processes,
    results,
    weights_and_biases,
)
from da_jax.training.callbacks import Callbacks
from da_jax.training.run import Run


class Processes(NamedTuple):
    """The processes of a run, see `processes.start_processes`."""

    coordinator_address: str | None
    num_processes: int | None
    process_id: int | None


def build(
    config: ConfigDict, workdir: Path | None, several: Processes | None = None
) -> Run:
    """Builds the run that a config describes.

    Args:
      config: as a config file and overrides made it; missing fields are added.
      workdir: the run's folder; by default `runs/` and the config's name.
      several: the processes to join, if there are several.

    Raises:
      UserError: the config, the data set or the teacher can't be used.
    """
    compilation.configure_compiler()  # before a module of config.imports uses JAX
    if not several:  # joining comes before JAX has devices
        devices.check_devices()
    complete(config)
    check_prerequisites(config)
    weights_and_biases.check(config)
    if several:
        print(waiting_line(several), flush=True)
        processes.start_processes(*several)
        devices.check_devices()
    check_config(config)
    dataset = load_data(config)
    workdir = workdir or Path(f"runs/{config.name}")
    run = build_run(config, workdir, dataset, load_teacher(config, dataset))
    if config.gallery_every and processes.is_first_process():
        return add_gallery(run, config)
    return run


@contextlib.contextmanager
def watched(run: Run, config: ConfigDict) -> Iterator[Callbacks]:
    """Claims a run's folder, and shows its progress.

    Processes other than the first show signals only.

    Raises:
      UserError: the folder can't be used.
    """
    if not processes.is_first_process():
        yield SignalsOnly()
        return
    with claimed(run.workdir, config), contextlib.closing(ProgressBar()) as bar:
        yield bar


def print_results(run: Run, finished: dict[str, Any]) -> None:
    """Prints a run's accuracy, and where it is; in the first process alone."""
    if processes.is_first_process():
        print(results.summary_line(finished))
        print(f"the run is in {run.workdir}, its best student in {run.workdir}/best")


def waiting_line(several: Processes) -> str:
    """Says which processes this one waits for, as far as the arguments tell."""
    address, count, own = several
    if address is None or count is None or own is None:
        return "waiting for the other processes of the cluster"
    others = [str(process) for process in range(count) if process != own]
    plural = "es" if len(others) > 1 else ""
    return f"waiting for process{plural} {', '.join(others)} of {count} at {address}"


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
