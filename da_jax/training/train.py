"""Training, from a config to a finished run folder.

A run folder holds `config.json`, `metrics.jsonl` (a line an epoch), TensorBoard's
files, those of Weights & Biases if it is asked for (`wandb/`, `wandb.json`),
`checkpoints/`, and at the end `results.json` and `best/`, the best student as a model
folder (of several seeds, also `seed_K/`, the best of each). The same command again goes
on from the newest checkpoint. Of several processes only the first writes and reads it.
"""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from da_jax.analysis.predictions import evaluate_network
from da_jax.config.configuration import check_config
from da_jax.config.prerequisites import check_prerequisites
from da_jax.errors import DivergedError
from da_jax.models import create_model
from da_jax.storage.files import write_json
from da_jax.storage.model_folders import Model, save_model
from da_jax.storage.run_checkpoints import (
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training import optim, parallel, weights_and_biases
from da_jax.training.composition import States
from da_jax.training.epoch import Epoch, Trainer
from da_jax.training.interruption import Interruption, RunEndedError
from da_jax.training.metrics import (
    Record,
    Writers,
    create_record,
    evaluated,
    is_due,
    tidy,
)
from da_jax.training.results import best_record, best_student, create_results
from da_jax.training.run import Run, claimed, set_up
from da_jax.training.state import TrainState, Variables


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Attributes:
      best: the variables of each student at its best so far, on the host.
      history: a record for each finished epoch.
      last_finish: when the last of them was finished, in seconds.
    """

    best: list[Variables]
    history: list[Record]
    last_finish: float = 0.0


def train_and_evaluate(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains as `config` says, or goes on with the run in `workdir`.

    Args:
      config: as `configs/default.py` makes it.
      workdir: the run's folder, made if it isn't there.

    Returns:
      What `results.json` holds.

    Raises:
      UserError: the config can't be meant, something it names is missing, or the
        workdir belongs to a run of another config or process.
      DivergedError: no student's loss is finite any more.
      RunEndedError: by SIGTERM or SIGINT, after a checkpoint.
    """
    check_config(config)
    check_prerequisites(config)
    weights_and_biases.check(config)
    run = set_up(config, workdir)
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if parallel.is_first_process():
            stack.enter_context(claimed(run))
            checkpoints = stack.enter_context(
                contextlib.closing(RunCheckpoints(workdir))
            )
        interruption = stack.enter_context(Interruption())
        states, step, progress = _restore(run, checkpoints)
        trained = _train(run, states, step, progress, checkpoints, interruption)
        results = create_results(
            config.to_dict(),
            progress.history,
            parallel.device_description(),
            _test(run, progress, trained) if run.split == "validation" else None,
            _test_teacher(run),
        )
        if checkpoints is not None:
            _finish(run, progress, results)
    return results


def _restore(
    run: Run, checkpoints: RunCheckpoints | None
) -> tuple[States, int, Progress]:
    """The newest checkpoint's students and their step, in every process; else new."""
    states = run.programs.create_train_states(run.config.seed)
    checkpoint = checkpoints.restore() if checkpoints is not None else None
    students = run.programs.students(states)
    if checkpoints is not None:
        checkpoints.clean(checkpoint)
    history = parallel.from_first_process(checkpoint.history if checkpoint else None)
    best = [student.variables for student in students]
    if history is None:
        return states, 0, Progress(best, [])
    if checkpoint is not None:
        students = [
            from_tree(student, tree)
            for student, tree in zip(students, checkpoint.students, strict=True)
        ]
        best = checkpoint.best
        tqdm.write(f"going on after step {students[0].step} of {run.workdir}")
    students, best = parallel.arrays_from_first_process((students, best))
    states = run.programs.replicate_students(students)
    return states, int(students[0].step), Progress(best, history)


def _train(
    run: Run,
    states: States,
    step: int,
    progress: Progress,
    checkpoints: RunCheckpoints | None,
    interruption: Interruption,
) -> States:
    """Trains to the last epoch, if nothing interrupts it.

    Returns:
      The students after it.

    Raises:
      RunEndedError: a signal did; there is a checkpoint.
      DivergedError: no student's loss is finite any more.
    """
    num_epochs = run.config.num_epochs
    epoch_images = sum(size for _, size in run.batches) * len(run.seeds)
    under_way: list[Epoch] = []
    with (
        Writers(run.workdir, progress.history, run.config.to_dict())
        if checkpoints
        else contextlib.nullcontext() as writers,
        tqdm(
            total=num_epochs * epoch_images,
            initial=len(progress.history) * epoch_images,
            unit="img",
            unit_scale=True,
            disable=None if checkpoints else True,  # None: only on a terminal
        ) as bar,
    ):
        say = tqdm.write if writers else lambda line: None
        # Several processes can only end together: after an epoch.
        is_to_end = interruption.is_requested if parallel.is_alone() else lambda: False
        trainer = Trainer(run, states, step, bar, say, is_to_end)
        for epoch in range(len(progress.history), num_epochs):
            bar.set_description(f"epoch {epoch + 1}/{num_epochs}")
            last = progress.history[-1]["seconds"] if progress.history else None
            is_judged = is_due(epoch + 1, run.config.eval_every, num_epochs)
            started = trainer.start_epoch(epoch, last, evaluate=is_judged)
            if started is not None:
                under_way.append(started)
            is_end = parallel.from_first_process(interruption.is_requested())
            is_end = is_end or started is None
            # While an accelerator is at the next epoch, the host sees to the last one.
            is_ahead = run.programs.runs_ahead and epoch + 1 < num_epochs
            while len(under_way) > (is_ahead and not is_end):
                _finish_epoch(run, progress, under_way.pop(0), writers, checkpoints)
            if is_end and len(progress.history) < num_epochs:
                students = run.programs.students(trainer.states)
                _save(run, progress, students, checkpoints)
                step = int(students[0].step)
                raise RunEndedError(
                    interruption.number, f" after step {step}, with a checkpoint"
                )
    return trainer.states


def _finish_epoch(
    run: Run,
    progress: Progress,
    epoch: Epoch,
    writers: Writers | None,
    checkpoints: RunCheckpoints | None,
) -> None:
    """Waits for an epoch's metrics, and keeps what is to be kept of it.

    Raises:
      DivergedError: no student's loss is finite any more.
    """
    train = run.programs.mean_metrics(tuple(state.metrics for state in epoch.states))
    judged: list[dict[str, float]] = [{} for _ in run.seeds]
    if epoch.judged is not None:
        judged = run.programs.mean_metrics(epoch.judged)
    now = time.perf_counter()
    seconds = now - max(epoch.start, progress.last_finish)
    progress.last_finish = now
    # All processes have one history: the next epoch's programs depend on it.
    seconds = parallel.from_first_process(seconds)
    record = _record(run, epoch.number, seconds, train, judged)
    progress.history.append(record)
    if writers is not None:
        writers.write(record)
    if len(record.get("diverged", {})) == len(run.seeds):
        raise DivergedError(record, run.workdir)
    students = run.programs.students(epoch.states)
    if writers is not None:
        _show(run, students[0], record, writers)
    _keep_best(progress, students)
    if is_due(epoch.number + 1, run.config.checkpoint_every, run.config.num_epochs):
        _save(run, progress, students, checkpoints)


def _show(run: Run, student: TrainState, record: Record, writers: Writers) -> None:
    """The gallery of the first student, if it is due and there is where to show it."""
    config = run.config
    if (
        run.gallery is not None
        and writers.take_pictures
        and is_due(record["epoch"], config.gallery_every, config.num_epochs)
    ):
        gallery = run.gallery.ascend(student.variables)
        if gallery.is_finite:  # a student that has diverged has nothing to show
            writers.write_gallery(record["step"], gallery, run.gallery.draw(gallery))


def _keep_best(progress: Progress, students: list[TrainState]) -> None:
    """Keeps the students of the last epoch for whom it was the best so far.

    Before the first evaluation the newest students are kept.
    """
    epoch = progress.history[-1]["epoch"]
    was_evaluated = evaluated(progress.history)
    for index, student in enumerate(students):
        if not was_evaluated or (
            best_record(progress.history, index)["epoch"] == epoch
        ):
            progress.best[index] = student.variables


def _record(
    run: Run,
    epoch: int,
    seconds: float,
    train: list[dict[str, float]],
    judged: list[dict[str, float]],
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
        "seconds": seconds,
    }
    diverged = {
        # A loss that isn't finite leaves no later one that is.
        str(seed): first_step + round(finite * len(run.batches)) + 1
        for seed, of_train in zip(run.seeds, train, strict=True)
        if (finite := of_train.pop("finite")) < 1
    }
    metrics = [
        {f"train_{name}": value for name, value in of_train.items()}
        | {f"{run.split}_{name}": value for name, value in of_judge.items()}
        for of_train, of_judge in zip(train, judged, strict=True)
    ]
    record = create_record(progress, run.seeds, metrics)
    if diverged:
        record["diverged"] = diverged
    return record


def _save(
    run: Run,
    progress: Progress,
    students: list[TrainState],
    checkpoints: RunCheckpoints | None,
) -> None:
    if checkpoints is not None:
        checkpoints.save(
            RunCheckpoint(
                model=run.config.student,
                num_classes=run.num_classes,
                students=[to_tree(student) for student in students],
                best=list(progress.best),
                best_student=best_student(progress.history) if progress.history else 0,
                history=list(progress.history),
            )
        )


def _test(run: Run, progress: Progress, trained: States) -> list[dict[str, Record]]:
    """Each student's figures on the test set, at its best and at last: the only look.

    Where the epochs have been judged by what was held out.
    """
    test = run.programs.replicate(run.dataset.test)
    at_last = [student.variables for student in run.programs.students(trained)]
    figures = {}
    for which, students in (("best", progress.best), ("last", at_last)):
        networks = run.programs.replicate_students(students)
        sums = run.programs.evaluate(networks, test, run.config.eval_batch_size)
        figures[which] = run.programs.mean_metrics(sums)
    return [
        {
            which: _of_test_set(of_student)
            for which, of_student in zip(figures, of_both, strict=True)
        }
        for of_both in zip(*figures.values(), strict=True)
    ]


def _of_test_set(metrics: dict[str, float]) -> Record:
    return tidy({f"test_{name}": value for name, value in metrics.items()})


def _test_teacher(run: Run) -> Record | None:
    """The teacher's figures on the test set, as `da_jax.evaluate` has them."""
    if run.teacher is None:
        return None
    network = create_model(run.config.teacher.model, run.num_classes)
    return _of_test_set(evaluate_network(network, run.teacher, run.dataset))


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
        save_model(run.workdir / folder, best, provenance)
    write_json(run.workdir / "results.json", results)
