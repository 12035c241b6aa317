"""Records of an epoch's metrics, the lines of `metrics.jsonl`. Doesn't import JAX."""

import math
import statistics
from typing import Any

Record = dict[str, Any]
"""An epoch's metrics by name; accuracies in %, times in seconds.

For several seeds they are means, and `seeds` has the metrics of each seed.
"""


def create_record(
    progress: dict[str, float], seeds: list[int], metrics: list[dict[str, float]]
) -> Record:
    """Creates an epoch's record.

    Args:
      progress: epoch, step, learning rate and seconds.
      seeds: the students' seeds.
      metrics: of each student, accuracies as fractions; non-finite values become None.
    """
    own = [tidy(of_student) for of_student in metrics]
    record: Record = dict(progress)
    for name in own[0]:
        values = [value for student in own if (value := student[name]) is not None]
        record[name] = statistics.fmean(values) if values else None
    if len(seeds) > 1:
        record["seeds"] = [
            {"seed": seed, **student} for seed, student in zip(seeds, own, strict=True)
        ]
    return record


def tidy(metrics: dict[str, float]) -> Record:
    """Converts accuracies from fractions to %, and non-finite values to None."""

    def one(name: str, value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return 100 * value if name.partition("_")[2].startswith("top") else value

    return {name: one(name, value) for name, value in metrics.items()}


def by_seed(record: Record) -> list[Record]:
    """Returns the metrics of each seed."""
    return record.get("seeds", [record])


def evaluation_split(record: Record) -> str:
    """Returns the split that an epoch was evaluated on: `test` or `validation`."""
    is_held_out = "validation_top1" in by_seed(record)[0]
    return "validation" if is_held_out else "test"


def is_due(epoch: int, every: int, num_epochs: int) -> bool:
    """Returns whether `epoch` (from 1) is a multiple of `every`, or the last."""
    return epoch % every == 0 or epoch == num_epochs


def evaluated(history: list[Record]) -> list[Record]:
    """Returns the records of the epochs that ended with an evaluation."""
    names = ("test_top1", "validation_top1")
    return [
        record
        for record in history
        if any(name in by_seed(record)[0] for name in names)
    ]


def evaluated_top1(record: Record) -> float:
    """Returns the top-1 accuracy, in %, by which epochs are compared."""
    top1: float = record[f"{evaluation_split(record)}_top1"]
    return top1


def console_line(record: Record, augmentation: str) -> str:
    """Formats an epoch's record as a line for the console.

    Args:
      record: of the epoch.
      augmentation: its name.
    """
    parts = [
        f"epoch {record['epoch']:3d}",
        f"lr {record['learning_rate']:.3g}",
        f"loss {_figure(record['train_loss'], '.4f')}",
        f"train {record['train_top1']:.2f} %",
    ]
    if evaluated([record]):
        split = evaluation_split(record)
        parts.append(
            f"{split} {record[f'{split}_top1']:.2f} %"
            f" (top-5 {record[f'{split}_top5']:.2f} %)"
        )
    if "seeds" in record:
        parts[-1] += f", {len(record['seeds'])} seeds' mean"
    if "train_augmented" in record:
        parts.append(
            f"{augmentation} on {100 * record['train_augmented']:.0f} % of batches"
        )
    if record.get("train_disagreement_before") is not None:
        before, after = (
            _figure(record[f"train_disagreement_{when}"], ".2e")
            for when in ("before", "after")
        )
        parts[-1] += f", disagreement {before} → {after}"
    parts.append(f"{record['seconds']:.1f} s")
    return " | ".join(parts)


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
