"""Training, from a config to a finished run folder.

A run folder holds `config.json`, `metrics.jsonl` (a line an epoch), TensorBoard's
files, `checkpoints/`, and at the end `results.json` and `best/`, the best student as a
model folder (of several seeds, also `seed_K/`, the best of each). The same command
again goes on from the newest checkpoint. Of several processes only the first writes
and reads it.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from da_jax import checkpointing, locations, optim, parallel
from da_jax.checkpointing import Model, RunCheckpoint, RunCheckpoints
from da_jax.composition import States
from da_jax.configuration import (
    check_config,
    create_hyperparameters,
    create_problem,
    differing_fields,
)
from da_jax.datasets import Dataset, Examples, load_dataset
from da_jax.errors import UserError
from da_jax.metrics import Record, Writers, create_record
from da_jax.parallel import Programs
from da_jax.results import best_record, best_student, create_results
from da_jax.state import Hyperparameters, Variables

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
      hyperparameters: the run's numbers, on the host.
      replicated_hyperparameters: the same on the devices.
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
    replicated_hyperparameters: Hyperparameters

    @property
    def seeds(self) -> list[int]:
        """Of the students."""
        return [self.config.seed + index for index in range(self.config.num_seeds)]


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Attributes:
      states: the students, on the devices.
      best: the variables of each student at its best so far, on the host.
      history: a record for each finished epoch.
    """

    states: States
    best: list[Variables]
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
    checkpoints = None
    if parallel.is_first_process():
        _claim(run)
        checkpoints = RunCheckpoints(workdir)
    try:
        progress = _restore(run, checkpoints)
        _train(run, progress, checkpoints)
    finally:
        if checkpoints is not None:
            checkpoints.close()
    results = create_results(config, progress.history)
    if parallel.is_first_process():
        _finish(run, progress, results)
    return results


def set_up(config: ConfigDict, workdir: Path) -> Run:
    """Loads the data and the teacher, and puts them on the devices."""
    dataset = load_dataset(config.dataset, locations.data_dir(config.data_dir))
    batches = epoch_batches(
        len(dataset.train.labels), config.batch_size, config.drop_remainder
    )
    programs = Programs(
        create_problem(config, dataset), config.num_seeds, config.parallel
    )
    for _, batch_size in set(batches):
        programs.check_batch_size("config.batch_size", batch_size)
    programs.check_batch_size("config.eval_batch_size", config.eval_batch_size)
    teacher = _load_teacher(config, dataset) if config.teacher.model else None
    hyperparameters = create_hyperparameters(config, steps_per_epoch=len(batches))
    return Run(
        config=config,
        workdir=workdir,
        programs=programs,
        num_classes=dataset.num_classes,
        batches=batches,
        train=programs.replicate(dataset.train),
        test=programs.replicate(dataset.test),
        teacher=programs.replicate(teacher),
        hyperparameters=hyperparameters,
        replicated_hyperparameters=programs.replicate(hyperparameters),
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


def _restore(run: Run, checkpoints: RunCheckpoints | None) -> Progress:
    """The newest checkpoint's progress, in every process; else a fresh start."""
    states = run.programs.create_train_states(run.config.seed)
    checkpoint = checkpoints.restore() if checkpoints is not None else None
    history = parallel.from_first_process(checkpoint.history if checkpoint else [])
    if not history:
        return Progress(states, best=[{} for _ in run.seeds], history=[])
    students = run.programs.students(states)
    if checkpoint is not None:
        tqdm.write(f"going on after epoch {len(history)} of {run.workdir}")
        students = [
            checkpointing.from_tree(student, tree)
            for student, tree in zip(students, checkpoint.students, strict=True)
        ]
    students = parallel.arrays_from_first_process(students)
    best = checkpoint.best if checkpoint else [{} for _ in run.seeds]
    return Progress(run.programs.replicate_students(students), best, history)


def _train(run: Run, progress: Progress, checkpoints: RunCheckpoints | None) -> None:
    num_epochs = run.config.num_epochs
    writers = Writers(run.workdir, progress.history) if checkpoints else None
    epoch_images = sum(size for _, size in run.batches) * len(run.seeds)
    with tqdm(
        total=num_epochs * epoch_images,
        initial=len(progress.history) * epoch_images,
        unit="img",
        unit_scale=True,
        disable=None if writers else True,  # None: only on a terminal
    ) as bar:
        for epoch in range(len(progress.history), num_epochs):
            bar.set_description(f"epoch {epoch + 1}/{num_epochs}")
            record = _run_epoch(run, progress, epoch, bar)
            if writers is not None:
                writers.write(record)
            if is_due(epoch + 1, run.config.checkpoint_every, num_epochs):
                _save(run, progress, checkpoints)
    if writers is not None:
        writers.close()


def is_due(epoch: int, every: int, num_epochs: int) -> bool:
    """Whether a checkpoint follows `epoch` (from 1): `every` so many, and the last."""
    return epoch % every == 0 or epoch == num_epochs


def _run_epoch(run: Run, progress: Progress, epoch: int, bar: tqdm) -> Record:
    """One epoch and its evaluation; `progress` moves on by it."""
    start = time.perf_counter()
    train_metrics = _train_epoch(run, progress, epoch, bar)
    train_seconds = time.perf_counter() - start
    test_metrics = run.programs.evaluate(
        [state.variables for state in progress.states],
        run.test,
        run.config.eval_batch_size,
    )
    times = {
        "train_seconds": train_seconds,
        "seconds": time.perf_counter() - start,
    }
    record = _record(run, epoch, times, train_metrics, test_metrics)
    progress.history.append(record)
    _keep_best(run, progress)
    return record


def _keep_best(run: Run, progress: Progress) -> None:
    epoch = progress.history[-1]["epoch"]
    improved = [
        index
        for index in range(len(run.seeds))
        if best_record(progress.history, index)["epoch"] == epoch
    ]
    if improved:
        students = run.programs.students([s.variables for s in progress.states])
        for index in improved:
            progress.best[index] = students[index]


def _train_epoch(
    run: Run, progress: Progress, epoch: int, bar: tqdm
) -> list[dict[str, float]]:
    programs = run.programs
    num_examples = run.train.labels.shape[1]
    orders = programs.epoch_orders(progress.states, epoch, num_examples)
    metrics: list[Any] = []
    for position, batch_size in run.batches:
        progress.states, batch_metrics = programs.train_step(
            progress.states,
            run.teacher,
            run.train,
            orders,
            position,
            run.replicated_hyperparameters,
            batch_size,
        )
        metrics.append(batch_metrics)
        jax.block_until_ready(metrics[-STEPS_IN_FLIGHT:][0])
        bar.update(batch_size * len(run.seeds))
    return programs.mean_metrics(metrics)


def _record(
    run: Run,
    epoch: int,
    times: dict[str, float],
    train: list[dict[str, float]],
    test: list[dict[str, float]],
) -> Record:
    first_step = epoch * len(run.batches)
    numbers = run.hyperparameters
    learning_rate = optim.step_decay(
        first_step, numbers.learning_rate, numbers.decay_rate, numbers.decay_steps
    )
    progress = {
        "epoch": epoch + 1,
        "step": first_step + len(run.batches),
        "learning_rate": float(learning_rate),
        **times,
    }
    metrics = [
        {f"train_{name}": value for name, value in of_train.items()}
        | {f"test_{name}": value for name, value in of_test.items()}
        for of_train, of_test in zip(train, test, strict=True)
    ]
    return create_record(progress, run.seeds, metrics)


def _save(run: Run, progress: Progress, checkpoints: RunCheckpoints | None) -> None:
    students = run.programs.students(progress.states)
    if checkpoints is not None:
        checkpoints.save(
            RunCheckpoint(
                model=run.config.student,
                num_classes=run.num_classes,
                students=[checkpointing.to_tree(student) for student in students],
                best=list(progress.best),
                best_student=best_student(progress.history),
                history=list(progress.history),
            )
        )


def _finish(run: Run, progress: Progress, results: dict[str, Any]) -> None:
    """Writes the best students as model folders, and `results.json`."""
    folders = {"best": best_student(progress.history)}
    if len(run.seeds) > 1:
        folders |= {f"seed_{seed}": index for index, seed in enumerate(run.seeds)}
    for folder, index in folders.items():
        best = Model(run.config.student, run.num_classes, progress.best[index])
        provenance = {
            "dataset": run.config.dataset,
            "run": run.config.name,
            "seed": run.seeds[index],
            "test_top1": results["seeds"][index]["best"]["test_top1"],
        }
        checkpointing.save_model(run.workdir / folder, best, provenance)
    file = run.workdir / "results.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
