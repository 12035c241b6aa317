"""Training, from a run to its finished folder.

A run folder holds `config.json`, `metrics.jsonl` (a line for each epoch), TensorBoard's
files, those of Weights & Biases if the config asks for it (`wandb/`, `wandb.json`),
`checkpoints/`, and at the end `results.json` and `best/`, the best student as a model
folder (of several seeds also `seed_K/`, the best of each). Where a moving average of a
student is kept, these hold the average. It resumes from its newest checkpoint. Of
several processes only the first writes and reads the folder.
"""

import contextlib
import dataclasses
import time
from typing import Any

from clu import parameter_overview

from da_jax.errors import DivergedError
from da_jax.models import create_model
from da_jax.models.forward import Variables
from da_jax.storage.files import write_json
from da_jax.storage.model_folders import Model, save_model
from da_jax.storage.run_checkpoints import (
    NoCheckpoints,
    RunCheckpoint,
    RunCheckpoints,
    from_tree,
    to_tree,
)
from da_jax.training import processes
from da_jax.training.callbacks import Callbacks
from da_jax.training.composition import States
from da_jax.training.epoch import Epoch, Trainer
from da_jax.training.evaluation import evaluate_network
from da_jax.training.interruption import Interruption, RunEndedError
from da_jax.training.metrics import Record, create_record, evaluated, is_due, tidy
from da_jax.training.results import (
    best_record,
    best_student,
    create_results,
    weights_entry,
)
from da_jax.training.run import Run
from da_jax.training.state import TrainState
from da_jax.training.writers import RunWriters, Writers


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


def train(run: Run, callbacks: Callbacks) -> dict[str, Any]:
    """Trains a run, or resumes it from its newest checkpoint.

    Args:
      run: the run; its folder exists.
      callbacks: what the caller watches.

    Returns:
      The content of `results.json`.

    Raises:
      UserError: the run's files can't be read or written.
      DivergedError: no student's loss is finite any more.
      RunEndedError: by SIGTERM or SIGINT, after a checkpoint.
    """
    num_epochs = run.options.num_epochs
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(_open_checkpoints(run)))
        interruption = stack.enter_context(Interruption(callbacks.warn))
        states, step, progress = _restore(run, checkpoints, callbacks)
        done = len(progress.history)
        with _open_writers(run, progress, callbacks) as writers:
            callbacks.started(run, progress.history, _num_parameters(progress))
            # Several processes can only end together: after an epoch.
            alone = processes.is_alone()
            should_stop = interruption.is_requested if alone else lambda: False
            trainer = Trainer(run, states, step, callbacks, should_stop)
            in_flight: list[Epoch] = []
            for number in range(done, num_epochs):
                callbacks.status(f"epoch {number + 1}/{num_epochs}")
                last = progress.history[-1]["seconds"] if progress.history else None
                due = is_due(number + 1, run.options.eval_every, num_epochs)
                started = trainer.start_epoch(number, last, evaluate=due)
                in_flight += [started] if started is not None else []
                ending = processes.from_first_process(interruption.is_requested())
                ending = ending or started is None
                # While an accelerator is at the next epoch, the host finishes the last.
                is_ahead = run.steps.runs_ahead and number + 1 < num_epochs
                while len(in_flight) > (is_ahead and not ending):
                    epoch = in_flight.pop(0)
                    _finish_epoch(run, progress, epoch, writers, checkpoints, callbacks)
                if ending and len(progress.history) < num_epochs:
                    _end(run, progress, trainer.states, checkpoints, interruption)
        return _finish(run, progress, trainer.states)


def _open_checkpoints(run: Run) -> RunCheckpoints | NoCheckpoints:
    is_first = processes.is_first_process()
    return RunCheckpoints(run.workdir) if is_first else NoCheckpoints()


def _open_writers(run: Run, progress: Progress, callbacks: Callbacks) -> Writers:
    if not processes.is_first_process():
        return Writers()
    return RunWriters(run.workdir, progress.history, dict(run.record), callbacks.log)


def _restore(
    run: Run, checkpoints: RunCheckpoints | NoCheckpoints, callbacks: Callbacks
) -> tuple[States, int, Progress]:
    """The newest checkpoint's students and their step, in every process; else new."""
    states = run.steps.create_train_states(
        run.options.seed, run.hyperparameters, run.start
    )
    checkpoint = checkpoints.restore()
    students = run.steps.students(states)
    checkpoints.clean(checkpoint)
    history = processes.from_first_process(checkpoint.history if checkpoint else None)
    best = [student.eval_variables for student in students]
    if history is None:
        return states, 0, Progress(best, [])
    if checkpoint is not None:
        students = [
            from_tree(student, tree)
            for student, tree in zip(students, checkpoint.students, strict=True)
        ]
        best = checkpoint.best
        callbacks.log(f"resumed after step {students[0].step} of {run.workdir}")
    students, best = processes.arrays_from_first_process((students, best))
    states = run.steps.replicate_students(students)
    return states, int(students[0].step), Progress(best, history)


def _num_parameters(progress: Progress) -> int:
    return parameter_overview.count_parameters(progress.best[0]["params"])


def _finish_epoch(
    run: Run,
    progress: Progress,
    epoch: Epoch,
    writers: Writers,
    checkpoints: RunCheckpoints | NoCheckpoints,
    callbacks: Callbacks,
) -> None:
    """Waits for an epoch's metrics, writes them, and saves what is due.

    Raises:
      DivergedError: no student's loss is finite any more.
    """
    metrics = run.steps.mean_metrics(tuple(state.metrics for state in epoch.states))
    eval_metrics: list[dict[str, float]] = [{} for _ in run.seeds]
    if epoch.evaluated is not None:
        eval_metrics = run.steps.mean_metrics(epoch.evaluated)
    now = time.perf_counter()
    seconds = now - max(epoch.start, progress.last_finish)
    progress.last_finish = now
    # All processes have one history: the next epoch's programs depend on it.
    seconds = processes.from_first_process(seconds)
    record = _record(run, epoch.number, seconds, metrics, eval_metrics)
    progress.history.append(record)
    writers.write(record)
    callbacks.epoch_finished(record)
    if len(record.get("diverged", {})) == len(run.seeds):
        raise DivergedError(record, checkpoints.latest())
    students = run.steps.students(epoch.states)
    options = run.options
    gallery_is_due = options.gallery_every and is_due(
        record["epoch"], options.gallery_every, options.num_epochs
    )
    if run.gallery is not None and gallery_is_due and writers.takes_summaries:
        summaries = run.gallery(students[0].variables)
        if summaries is not None:
            writers.write_summaries(record["step"], summaries)
    _keep_best(progress, students)
    if is_due(record["epoch"], options.checkpoint_every, options.num_epochs):
        checkpoints.save(_checkpoint(run, progress, students))


def _keep_best(progress: Progress, students: list[TrainState]) -> None:
    """Keeps the students for which the last epoch was the best so far.

    Before the first evaluation the newest students are kept.
    """
    epoch = progress.history[-1]["epoch"]
    was_evaluated = evaluated(progress.history)
    for index, student in enumerate(students):
        if not was_evaluated or (
            best_record(progress.history, index)["epoch"] == epoch
        ):
            progress.best[index] = student.eval_variables


def _record(
    run: Run,
    epoch: int,
    seconds: float,
    metrics: list[dict[str, float]],
    eval_metrics: list[dict[str, float]],
) -> Record:
    first_step = epoch * len(run.batches)
    learning_rate = run.task.optimizer.learning_rate(
        first_step, run.hyperparameters.optimizer
    )
    progress = {
        "epoch": epoch + 1,
        "step": first_step + len(run.batches),
        "learning_rate": float(learning_rate),
        "seconds": seconds,
    }
    diverged = {
        # After a loss that isn't finite no later one is.
        str(seed): first_step + round(finite * len(run.batches)) + 1
        for seed, of_train in zip(run.seeds, metrics, strict=True)
        if (finite := of_train.pop("finite")) < 1
    }
    by_student = [
        {f"train_{name}": value for name, value in of_train.items()}
        | {f"{run.split}_{name}": value for name, value in of_eval.items()}
        for of_train, of_eval in zip(metrics, eval_metrics, strict=True)
    ]
    record = create_record(progress, run.seeds, by_student)
    if diverged:
        record["diverged"] = diverged
    return record


def _checkpoint(
    run: Run, progress: Progress, students: list[TrainState]
) -> RunCheckpoint:
    return RunCheckpoint(
        model=run.names.student,
        num_classes=run.dataset.num_classes,
        students=[to_tree(student) for student in students],
        best=list(progress.best),
        best_student=best_student(progress.history) if progress.history else 0,
        history=list(progress.history),
        imports=run.names.imports,
    )


def _end(
    run: Run,
    progress: Progress,
    states: States,
    checkpoints: RunCheckpoints | NoCheckpoints,
    interruption: Interruption,
) -> None:
    """Saves a checkpoint and ends.

    Raises:
      RunEndedError: always.
    """
    students = run.steps.students(states)
    checkpoints.save(_checkpoint(run, progress, students))
    step = int(students[0].step)
    raise RunEndedError(interruption.number, f" after step {step}, with a checkpoint")


def _finish(run: Run, progress: Progress, states: States) -> dict[str, Any]:
    """Tests, and writes `results.json` and the best students as model folders."""
    tested = _test(run, progress, states) if run.split == "validation" else None
    teacher = None
    if run.teacher is not None:
        network = create_model(run.names.teacher, run.dataset.num_classes)
        teacher = _test_metrics(evaluate_network(network, run.teacher, run.dataset))
    results = create_results(
        run.record,
        progress.history,
        processes.device_description(),
        tested,
        teacher,
    )
    if processes.is_first_process():
        _write_models(run, progress, results)
        write_json(run.workdir / "results.json", results)
    return results


def _test(run: Run, progress: Progress, states: States) -> list[dict[str, Record]]:
    """Evaluates the best and the last students of each seed on the test set.

    For runs whose epochs are evaluated on what is held out; it is their only look.
    """
    test = run.steps.replicate(run.dataset.test)
    last = [student.eval_variables for student in run.steps.students(states)]
    metrics = {}
    for which, students in (("best", progress.best), ("last", last)):
        networks = run.steps.replicate_students(students)
        sums = run.steps.evaluate(networks, test, run.options.eval_batch_size)
        metrics[which] = run.steps.mean_metrics(sums)
    return [
        {
            which: _test_metrics(of_student)
            for which, of_student in zip(metrics, of_both, strict=True)
        }
        for of_both in zip(*metrics.values(), strict=True)
    ]


def _test_metrics(metrics: dict[str, float]) -> Record:
    return tidy({f"test_{name}": value for name, value in metrics.items()})


def _write_models(run: Run, progress: Progress, results: dict[str, Any]) -> None:
    folders = {"best": best_student(progress.history)}
    if len(run.seeds) > 1:
        folders |= {f"seed_{seed}": index for index, seed in enumerate(run.seeds)}
    for folder, index in folders.items():
        best = Model(
            run.names.student,
            run.dataset.num_classes,
            progress.best[index],
            run.names.imports,
        )
        provenance = {
            "dataset": run.names.dataset,
            "run": run.names.run,
            "seed": run.seeds[index],
            "test_top1": results["seeds"][index]["best"]["test_top1"],
            **weights_entry(run.record),
        }
        save_model(run.workdir / folder, best, provenance)
