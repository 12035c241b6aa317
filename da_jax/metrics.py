"""Where a run's metrics go: the console, `metrics.jsonl` and TensorBoard."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from tqdm import tqdm

Record = dict[str, Any]
"""An epoch's metrics by name; accuracies in %, times in seconds."""


class Writers:
    """A run's outlets, fed a record an epoch.

    Args:
      workdir: the run's folder.
      history: the records that the run being resumed has written already; what
        `metrics.jsonl` holds beyond them is written again.
    """

    def __init__(self, workdir: Path, history: list[Record]) -> None:
        self._jsonl = workdir / "metrics.jsonl"
        self._tensorboard = _TensorBoard(workdir)
        temporary = self._jsonl.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(record) + "\n" for record in history))
        temporary.replace(self._jsonl)

    def write(self, record: Record) -> None:
        """Hands an epoch's record to every outlet."""
        with self._jsonl.open("a") as file:
            file.write(json.dumps(record) + "\n")
        tqdm.write(console_line(record))
        self._tensorboard.write(record)

    def close(self) -> None:
        """Waits until everything is written."""
        self._tensorboard.close()


class _TensorBoard:
    """clu's TensorBoard writer; started by its first use, as it imports TensorFlow."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._writer: Any = None
        self._available = True

    def write(self, record: Record) -> None:
        if self._writer is None and self._available:
            self._start()
        if self._writer is not None:
            step = record["step"]
            scalars = {
                key: value
                for key, value in record.items()
                if key != "step" and value is not None
            }
            self._writer.write_scalars(step, scalars)

    def _start(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # only its fatal messages
        try:
            import tensorflow
            from clu import metric_writers
        except ImportError as error:
            self._available = False
            tqdm.write(
                f"no TensorBoard summaries: {error.name} isn't installed"
                " (pip install -e '.[tensorboard]')"
            )
            return
        tensorflow.config.set_visible_devices([], "GPU")  # JAX has them
        logging.getLogger("absl").setLevel(logging.WARNING)
        self._writer = metric_writers.SummaryWriter(str(self._workdir))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def console_line(record: Record) -> str:
    """An epoch's record for people, in one line."""
    parts = [
        f"epoch {record['epoch']:3d}",
        f"lr {record['learning_rate']:.3g}",
        f"loss {record['train_loss']:.4f}",
        f"train {record['train_top1']:.2f} %",
        f"test {record['test_top1']:.2f} % (top-5 {record['test_top5']:.2f} %)",
    ]
    if "train_augmented" in record:
        parts.append(
            f"augmented {record['train_augmented']:.2f}, disagreement"
            f" {_scientific(record['train_disagreement_before'])} →"
            f" {_scientific(record['train_disagreement_after'])}"
        )
    parts.append(f"{record['seconds']:.1f} s")
    return " | ".join(parts)


def _scientific(value: float | None) -> str:
    return "–" if value is None else f"{value:.2e}"
