"""Stage 3: real training, run after run, each from where its archive has it."""

import contextlib
import importlib
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.half_hour import archives
from benchmarks.half_hour.child import FAREWELL, run
from benchmarks.half_hour.journal import Journal
from benchmarks.half_hour.sizes import Size
from da_jax.errors import UserError

WEIGHTS = "weights.zip"
SHORTEST = 5.0
"""A run isn't started with fewer seconds left."""
ATTEMPTS = 2
"""How many calls try a run that fails; each goes on from its archive."""


class Spec(NamedTuple):
    """A run.

    Attributes:
      name: of its folder.
      config: the config's module in `configs`.
      variant: of the config.
      seed: of the run.
    """

    name: str
    config: str
    variant: str
    seed: int


def specs(size: Size) -> list[Spec]:
    """The runs in their order: KD and KD + DA of each seed, then the teacher."""
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
    """Trains a run, or goes on with it; in a process of its own.

    Args:
      config: a module of `configs`.
      variant: of the config.
      workdir: the run's folder.
      fields: of the config, by dotted name.
      epochs: 0 for the config's; else the marks of the schedule are scaled to them.
    """
    from da_jax.training.interruption import RunEndedError
    from da_jax.training.train import train_and_evaluate

    made = importlib.import_module(f"configs.{config}").get_config(variant)
    if epochs:
        marks = made.optimizer.decay_epochs
        scaled = {max(1, mark * epochs // made.num_epochs) for mark in marks}
        made.optimizer.decay_epochs = tuple(sorted(scaled))
        made.num_epochs = epochs
    if config == "teacher":  # only its last epoch is used; archives are smaller
        made.eval_every = made.num_epochs
    for name, value in fields.items():
        made[name] = value
    try:
        train_and_evaluate(made, Path(workdir))
    except RunEndedError as end:
        raise SystemExit(end.exit_code) from end


def run_all(
    size: Size, output: Path, scratch: Path, journal: Journal, end: float
) -> None:
    """Trains until everything is finished or `end` has come.

    Args:
      size: how much is trained.
      output: the folder of results and archives.
      scratch: where runs are trained, with `data` and `checkpoints`.
      journal: of this stage.
      end: in seconds of `time.monotonic`.
    """
    for spec in specs(size):
        if journal.is_done(spec.name, ATTEMPTS):
            for part in archives.parts(output, spec.name):  # left by a call's end
                part.unlink()
            continue
        workdir = scratch / "results" / spec.name
        archives.restore_run(output, workdir)
        seconds = end - time.monotonic() - FAREWELL
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
    """Trains one run; whether there is time for the next."""
    fields: dict[str, Any] = {"seed": spec.seed, "data_dir": "data"}
    if size.batch_size:
        fields["batch_size"] = size.batch_size
    last = time.monotonic()

    def meanwhile() -> None:
        nonlocal last
        if time.monotonic() - last > size.save_every:
            # A checkpoint may just be replaced: the next time will do.
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
    """A finished run's files; its last student's weights join those of the others."""
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
