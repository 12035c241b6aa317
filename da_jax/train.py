"""Training, from a config to a finished run folder.

A run folder holds `config.json`, `metrics.jsonl` (a line an epoch), TensorBoard's
files, `checkpoints/`, and at the end `results.json` and `best/`, the best student as a
model folder. The same command again goes on from the newest checkpoint.
"""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from da_jax import checkpointing, locations, optim
from da_jax.checkpointing import Model, RunCheckpoint, RunCheckpoints
from da_jax.configuration import (
    check_config,
    create_hyperparameters,
    create_problem,
    differing_fields,
)
from da_jax.datasets import Dataset, Examples, load_dataset
from da_jax.errors import UserError
from da_jax.metrics import Record, Writers
from da_jax.parallel import Programs
from da_jax.results import best_record, create_results
from da_jax.step import Hyperparameters, TrainState, Variables

STEPS_IN_FLIGHT = 4
"""How far the host may run ahead of the devices."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same from a run's first step to its last.

    Attributes:
      config: of the run.
      workdir: its folder.
      programs: its steps on the devices.
      num_classes: of its data set.
      batches: where each batch of an epoch starts, and its size.
      train: the training set, on the devices.
      test: the test set, on the devices.
      teacher: the teacher's variables on the devices, or None.
      hyperparameters: on the devices.
    """

    config: ConfigDict
    workdir: Path
    programs: Programs
    num_classes: int
    batches: list[tuple[int, int]]
    train: Examples
    test: Examples
    teacher: Variables | None
    hyperparameters: Hyperparameters


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Attributes:
      state: the student, on the devices.
      best: the variables of the best student so far, on the host.
      history: a record for each finished epoch.
    """

    state: TrainState
    best: Variables
    history: list[Record]


def train_and_evaluate(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains as `config` says, or goes on with the run in `workdir`.

    Args:
      config: as `configs/default.py` makes it.
      workdir: the run's folder, made if it isn't there.

    Returns:
      What `results.json` holds.

    Raises:
      UserError: the config can't be meant, something it names is missing, or the
        workdir belongs to a run of another config.
    """
    check_config(config)
    locations.check_prerequisites(config)
    run = set_up(config, workdir)
    _claim(run)
    checkpoints = RunCheckpoints(workdir)
    try:
        progress = _restore(run, checkpoints.restore())
        _train(run, progress, checkpoints)
    finally:
        checkpoints.close()
    return _finish(run, progress)


def set_up(config: ConfigDict, workdir: Path) -> Run:
    """Loads the data and the teacher, and puts them on the devices."""
    dataset = load_dataset(config.dataset, locations.data_dir(config.data_dir))
    batches = epoch_batches(
        len(dataset.train.labels), config.batch_size, config.drop_remainder
    )
    programs = Programs(create_problem(config, dataset))
    for _, batch_size in set(batches):
        programs.check_batch_size("config.batch_size", batch_size)
    programs.check_batch_size("config.eval_batch_size", config.eval_batch_size)
    teacher = _load_teacher(config, dataset) if config.teacher.model else None
    return Run(
        config=config,
        workdir=workdir,
        programs=programs,
        num_classes=dataset.num_classes,
        batches=batches,
        train=programs.replicate(dataset.train),
        test=programs.replicate(dataset.test),
        teacher=programs.replicate(teacher),
        hyperparameters=programs.replicate(
            create_hyperparameters(config, steps_per_epoch=len(batches))
        ),
    )


def epoch_batches(
    num_examples: int, batch_size: int, drop_remainder: bool
) -> list[tuple[int, int]]:
    """Where each batch of an epoch starts in its order, and its size.

    Raises:
      UserError: there are fewer examples than a batch holds.
    """
    if batch_size > num_examples:
        raise UserError(
            f"config.batch_size is {batch_size}, but the training set has only"
            f" {num_examples} examples"
        )
    whole, remainder = divmod(num_examples, batch_size)
    batches = [(index * batch_size, batch_size) for index in range(whole)]
    if remainder and not drop_remainder:
        batches.append((whole * batch_size, remainder))
    return batches


def _load_teacher(config: ConfigDict, dataset: Dataset) -> Variables:
    directory = Path(config.teacher.checkpoint)
    teacher = checkpointing.load_model(directory)
    expected = (config.teacher.model, dataset.num_classes)
    if (teacher.name, teacher.num_classes) != expected:
        raise UserError(
            f"the teacher in {directory} is a {teacher.name} of {teacher.num_classes}"
            f" classes, but config.teacher.model is {config.teacher.model} and"
            f" {config.dataset} has {dataset.num_classes} classes"
        )
    return teacher.variables


def _claim(run: Run) -> None:
    """Marks the workdir as this config's, or refuses it as another's."""
    file = run.workdir / "config.json"
    config = run.config.to_dict()
    if file.exists():
        differing = differing_fields(config, json.loads(file.read_text()))
        if differing:
            raise UserError(
                f"{run.workdir} holds a run of another config: {'; '.join(differing)};"
                " choose another --workdir"
            )
    run.workdir.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config, indent=1) + "\n")


def _restore(run: Run, checkpoint: RunCheckpoint | None) -> Progress:
    state = run.programs.create_train_state(run.config.seed)
    if checkpoint is None:
        return Progress(state, best={}, history=[])
    tqdm.write(f"going on after epoch {len(checkpoint.history)} of {run.workdir}")
    state = checkpointing.from_tree(run.programs.to_host(state), checkpoint.state)
    return Progress(
        run.programs.replicate(state), checkpoint.best, list(checkpoint.history)
    )


def _train(run: Run, progress: Progress, checkpoints: RunCheckpoints) -> None:
    num_epochs = run.config.num_epochs
    writers = Writers(run.workdir, progress.history)
    epoch_images = sum(size for _, size in run.batches)
    with tqdm(
        total=num_epochs * epoch_images,
        initial=len(progress.history) * epoch_images,
        unit="img",
        unit_scale=True,
        disable=None,  # only on a terminal
    ) as bar:
        for epoch in range(len(progress.history), num_epochs):
            bar.set_description(f"epoch {epoch + 1}/{num_epochs}")
            record = _run_epoch(run, progress, epoch, bar)
            writers.write(record)
            if (
                epoch + 1
            ) % run.config.checkpoint_every == 0 or epoch + 1 == num_epochs:
                _save(run, progress, checkpoints)
    writers.close()


def _run_epoch(run: Run, progress: Progress, epoch: int, bar: tqdm) -> Record:
    """One epoch and its evaluation; `progress` moves on by it."""
    start = time.perf_counter()
    train_metrics = _train_epoch(run, progress, epoch, bar)
    train_seconds = time.perf_counter() - start
    student = {
        "params": progress.state.params,
        "batch_stats": progress.state.batch_stats,
    }
    test_metrics = run.programs.evaluate(student, run.test, run.config.eval_batch_size)
    record = _record(run, epoch, train_metrics, test_metrics)
    record["train_seconds"] = train_seconds
    record["seconds"] = time.perf_counter() - start
    progress.history.append(record)
    if best_record(progress.history) is record:
        progress.best = run.programs.to_host(student)
    return record


def _train_epoch(
    run: Run, progress: Progress, epoch: int, bar: tqdm
) -> dict[str, float]:
    programs = run.programs
    num_examples = run.train.labels.shape[1]
    order = programs.epoch_order(progress.state, epoch, num_examples)
    metrics = []
    for position, batch_size in run.batches:
        progress.state, batch_metrics = programs.train_step(
            progress.state,
            run.teacher,
            run.train,
            order,
            position,
            run.hyperparameters,
            batch_size,
        )
        metrics.append(batch_metrics)
        jax.block_until_ready(metrics[-STEPS_IN_FLIGHT:][0])
        bar.update(batch_size)
    return programs.mean_metrics(metrics)


def _record(
    run: Run, epoch: int, train: dict[str, float], test: dict[str, float]
) -> Record:
    """An epoch's record: names prefixed, accuracies in %, None if not finite."""
    first_step = epoch * len(run.batches)
    hyperparameters = run.programs.to_host(run.hyperparameters)
    learning_rate = optim.step_decay(
        first_step,
        hyperparameters.learning_rate,
        hyperparameters.decay_rate,
        hyperparameters.decay_steps,
    )
    record: Record = {
        "epoch": epoch + 1,
        "step": first_step + len(run.batches),
        "learning_rate": float(learning_rate),
    }
    for prefix, metrics in (("train", train), ("test", test)):
        for name, value in metrics.items():
            percent = 100 if name.startswith("top") else 1
            finite = percent * value if math.isfinite(value) else None
            record[f"{prefix}_{name}"] = finite
    return record


def _save(run: Run, progress: Progress, checkpoints: RunCheckpoints) -> None:
    checkpoints.save(
        RunCheckpoint(
            model=run.config.student,
            num_classes=run.num_classes,
            state=checkpointing.to_tree(run.programs.to_host(progress.state)),
            best=progress.best,
            history=list(progress.history),
        )
    )


def _finish(run: Run, progress: Progress) -> dict[str, Any]:
    """Writes the best student as a model folder, and `results.json`."""
    results = create_results(run.config, progress.history)
    best = Model(run.config.student, run.num_classes, progress.best)
    provenance = {
        "dataset": run.config.dataset,
        "run": run.config.name,
        "test_top1": results["best"]["test_top1"],
    }
    checkpointing.save_model(run.workdir / "best", best, provenance)
    file = run.workdir / "results.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    return results
