"""What a command that trains shows of a run before its first step."""

from pathlib import Path

import jax

from da_jax.storage.bundled import locate
from da_jax.storage.files import read_json
from da_jax.training.metrics import Record
from da_jax.training.processes import device_description
from da_jax.training.results import method_name
from da_jax.training.run import Run


def banner(
    run: Run, history: list[Record], num_parameters: int
) -> list[tuple[str, str]]:
    """Describes a run as labelled lines.

    Args:
      run: what is trained.
      history: the records of the epochs before, of a run that is resumed.
      num_parameters: of a student.
    """
    options, train = run.options, run.dataset.train
    seeds = ", ".join(map(str, run.seeds))
    shape = " × ".join(map(str, train.images.shape[1:]))
    state = f"resumed after epoch {len(history)}" if history else "new"
    lines = [
        ("teacher", _teacher(run)),
        ("student", f"{run.names.student}, {num_parameters:,} parameters"),
        ("method", method_name(run.record)),
        (
            "data",
            f"{run.names.dataset}: {len(train.labels):,} training and"
            f" {len(run.held_out.labels):,} {run.split} examples of {shape},"
            f" {run.dataset.num_classes} classes",
        ),
        (
            "training",
            f"{_count(options.num_epochs, 'epoch')} of"
            f" {_count(len(run.batches), 'step')}, batch size"
            f" {run.record['batch_size']}, {run.record['precision']}",
        ),
        ("seeds" if len(run.seeds) > 1 else "seed", seeds),
        ("devices", _devices()),
        ("folder", f"{run.workdir} ({state})"),
    ]
    return [(label, text) for label, text in lines if text]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _teacher(run: Run) -> str:
    """Describes the teacher: its parameters, and its accuracy where it is recorded."""
    if run.teacher is None:
        return ""
    count = sum(leaf.size for leaf in jax.tree.leaves(run.teacher["params"]))
    description = f"{run.names.teacher}, {count:,} parameters"
    file = locate(Path(run.record["teacher"]["checkpoint"])) / "model.json"
    top1 = read_json(file).get("test_top1") if file.is_file() else None
    return description if top1 is None else f"{description}, test top-1 {top1:.2f} %"


def _devices() -> str:
    """Describes the devices of all processes."""
    device = device_description()
    cores = f" ({device['cores']} cores)" if "cores" in device else ""
    processes = jax.process_count()
    several = f" of {processes} processes" if processes > 1 else ""
    return f"{device['count']} × {device['kind']}{cores}{several}"
