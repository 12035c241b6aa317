"""Stage 3: training runs, one after the other, each resumed from its archive."""

import contextlib
import importlib
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.half_hour import archives
from benchmarks.half_hour.child import GRACE_PERIOD, run
from benchmarks.half_hour.journal import Journal
from benchmarks.half_hour.sizes import Size
from da_jax.errors import UserError

WEIGHTS = "weights.zip"
SHORTEST = 5.0
"""Seconds that must be left to start a run."""
ATTEMPTS = 2
"""Number of calls that try a failing run; each resumes from its archive."""


class Spec(NamedTuple):
    """A training run.

    Attributes:
      name: of its folder.
      config: module in `configs`.
      variant: of the config.
      seed: of the run.
    """

    name: str
    config: str
    variant: str
    seed: int


def specs(size: Size) -> list[Spec]:
    """Lists the runs in order: KD and KD + DA of each seed, then the teacher."""
    teacher, student = size.training
    students = [
        Spec(f"{teacher}_{student}_{arm}_seed{seed}", student, f"{teacher},{arm}", seed)
        for seed in size.seeds
        for arm in ("kd", "da")
    ]
    return [*students, Spec(f"teacher_{size.teacher}", "teacher", size.teacher, 0)]


def train(
    config: str,
    variant: str,
    workdir: str,
    fields: dict[str, Any],
    epochs: int,
) -> None:
    """Trains or resumes a run. Runs in a process of its own.

    Args:
      config: module in `configs`.
      variant: of the config.
      workdir: the run's folder.
      fields: values of config fields, by name.
      epochs: number of epochs, to which the schedule is scaled; 0 for the config's.
    """
    from da_jax.commands.progress_bar import ProgressBar
    from da_jax.config.build import build_run, load_data, load_teacher
    from da_jax.config.checks import check_config
    from da_jax.config.workdir import claimed
    from da_jax.training.interruption import RunEndedError
    from da_jax.training.train import train as train_run

    made = importlib.import_module(f"da_jax.configs.{config}").get_config(variant)
    if epochs:
        marks = made.optimizer.decay_epochs
        scaled = {max(1, mark * epochs // made.num_epochs) for mark in marks}
        made.optimizer.decay_epochs = tuple(sorted(scaled))
        made.num_epochs = epochs
    if config == "teacher":  # only its last epoch is used, and archives are smaller
        made.eval_every = made.num_epochs
    for name, value in fields.items():
        made[name] = value
    check_config(made)
    data = load_data(made)
    run = build_run(made, Path(workdir), data, load_teacher(made, data))
    try:
        with claimed(run.workdir, made), contextlib.closing(ProgressBar()) as bar:
            train_run(run, bar)
    except RunEndedError as end:
        raise SystemExit(end.exit_code) from end


def run_all(
    size: Size, output: Path, scratch: Path, journal: Journal, end: float
) -> None:
    """Trains until all runs are finished or `end` is reached.

    Args:
      size: of the benchmark.
      output: folder of results and archives.
      scratch: folder to train in, with `data` and `checkpoints`.
      journal: of this stage.
      end: as of `time.monotonic`, in seconds.
    """
    for spec in specs(size):
        if journal.is_done(spec.name, ATTEMPTS):
            for part in archives.parts(output, spec.name):  # from an earlier call
                part.unlink()
            continue
        workdir = scratch / "results" / spec.name
        archives.restore_run(output, workdir)
        seconds = end - time.monotonic() - GRACE_PERIOD
        if seconds < SHORTEST:
            return
        if not _run(spec, size, output, workdir, journal, seconds):
            return
    if all(journal.is_done(spec.name, ATTEMPTS) for spec in specs(size)):
        journal.finish()


def _run(
    spec: Spec,
    size: Size,
    output: Path,
    workdir: Path,
    journal: Journal,
    seconds: float,
) -> bool:
    """Trains one run and returns whether there is time for the next."""
    fields: dict[str, Any] = {"seed": spec.seed, "data_dir": "data"}
    if size.batch_size:
        fields["batch_size"] = size.batch_size
    last = time.monotonic()

    def meanwhile() -> None:
        nonlocal last
        if time.monotonic() - last > size.save_every:
            # The run may be replacing its checkpoint; the next call succeeds.
            with contextlib.suppress(UserError, OSError):
                archives.save_run(workdir, output)
            last = time.monotonic()

    start = time.monotonic()
    ended = run(
        "training:train",
        {
            "config": spec.config,
            "variant": spec.variant,
            "workdir": f"results/{spec.name}",
            "fields": fields,
            "epochs": size.epochs,
        },
        seconds,
        folder=workdir.parent.parent,
        meanwhile=meanwhile,
    )
    took = time.monotonic() - start
    if ended.returncode is None:
        archives.save_run(workdir, output)
        return False
    if ended.returncode:
        journal.fail(spec.name, ended, took)
    else:
        journal.done(spec.name, _finished(spec, workdir, output), took)
    if journal.is_done(spec.name, ATTEMPTS):
        for part in archives.parts(output, spec.name):
            part.unlink()
    shutil.rmtree(workdir, ignore_errors=True)
    return True


def _finished(spec: Spec, workdir: Path, output: Path) -> dict[str, Any]:
    """Collects a finished run's files, and adds its last weights to those of others."""
    from da_jax.analysis.report.runs import read_run
    from da_jax.storage.files import read_json
    from da_jax.storage.model_folders import load_model, save_model

    exported = workdir / "exported"
    save_model(exported, load_model(workdir, last=True), {}, "safetensors")
    content = (exported / "model.safetensors").read_bytes()
    archives.add_weights(output / WEIGHTS, spec.name, content)
    return {
        "config": read_json(workdir / "config.json"),
        "metrics": read_run(workdir).history,
        "results": read_json(workdir / "results.json"),
    }
