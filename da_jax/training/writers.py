"""Where a run's metrics are written: `metrics.jsonl`, TensorBoard, Weights & Biases."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from da_jax.training.metrics import Record
from da_jax.training.weights_and_biases import WeightsAndBiases


class Summaries(NamedTuple):
    """What TensorBoard shows beside an epoch's scalars.

    Attributes:
      images: uint8 `[pages, H, W, 3]` by name.
      scalars: by name.
      histograms: values of any shape by name.
    """

    images: dict[str, np.ndarray]
    scalars: dict[str, float]
    histograms: dict[str, np.ndarray]


class Writer(Protocol):
    """A place for an epoch's scalars."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes the scalars after `step` training steps."""

    def close(self, failed: bool) -> None:
        """Waits until everything is written."""


class Writers:
    """Ignores everything: what processes other than the first write."""

    takes_summaries: bool = False
    """Whether `write_summaries` shows them somewhere; known after the first record."""

    def write(self, record: Record) -> None:
        """Writes an epoch's record."""

    def write_summaries(self, step: int, summaries: Summaries) -> None:
        """Writes summaries after `step` training steps."""

    def __enter__(self) -> "Writers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends."""


class RunWriters(Writers):
    """The writers of a run, given a record for each epoch."""

    def __init__(
        self,
        workdir: Path,
        history: list[Record],
        config: dict[str, Any],
        log: Callable[[str], None],
    ) -> None:
        """Starts them.

        Args:
          workdir: the run's folder.
          history: the records that a resumed run has written already; what
            `metrics.jsonl` holds beyond them is written again.
          config: the run's, whose section `wandb` may ask for Weights & Biases.
          log: is called with lines for the user.

        Raises:
          UserError: Weights & Biases can't be reached, or refuses.
        """
        self._jsonl = workdir / "metrics.jsonl"
        temporary = self._jsonl.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(record) + "\n" for record in history))
        temporary.replace(self._jsonl)
        self._tensorboard = _TensorBoard(workdir, log)
        self._writers: Sequence[Writer] = [self._tensorboard]
        if config.get("wandb", {}).get("mode"):
            writer = WeightsAndBiases(workdir, config, log)
            for record in history:
                writer.write(record["step"], dict(_scalars(record)))
            self._writers = [self._tensorboard, writer]

    def write(self, record: Record) -> None:
        """Writes an epoch's record."""
        with self._jsonl.open("a") as file:
            file.write(json.dumps(record) + "\n")
        for writer in self._writers:
            writer.write(record["step"], dict(_scalars(record)))
        self.takes_summaries = self._tensorboard.is_open

    def write_summaries(self, step: int, summaries: Summaries) -> None:
        """Writes summaries to TensorBoard."""
        self._tensorboard.write_summaries(step, summaries)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for writer in self._writers:
            writer.close(failed=kind is not None)


class _TensorBoard:
    """clu's TensorBoard writer; started by its first use, as it imports TensorFlow."""

    def __init__(self, workdir: Path, log: Callable[[str], None]) -> None:
        self._workdir = workdir
        self._log = log
        self._writer: Any = None
        self._available = True

    def write(self, step: int, scalars: dict[str, float]) -> None:
        if self._writer is None and self._available:
            self._start()
        if self._writer is not None:
            self._writer.write_scalars(step, scalars)

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def write_summaries(self, step: int, summaries: Summaries) -> None:
        self._writer.write_images(step, summaries.images)
        self._writer.write_scalars(step, summaries.scalars)
        self._writer.write_histograms(step, summaries.histograms)

    def _start(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # only its fatal messages
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # which it would announce
        try:
            import tensorflow
            from clu import metric_writers
        except ImportError as error:
            self._available = False
            self._log(
                f"no TensorBoard summaries: {error.name} isn't installed"
                " (pip install -e '.[tensorboard]', up to Python 3.13)"
            )
            return
        tensorflow.config.set_visible_devices([], "GPU")  # JAX has them
        self._writer = metric_writers.SummaryWriter(str(self._workdir))

    def close(self, failed: bool) -> None:
        if self._writer is not None:
            self._writer.close()


def _scalars(record: Record) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, int | float) and name != "step":
            yield name, value
    for of_seed in record.get("seeds", []):
        for name, value in of_seed.items():
            if name != "seed" and value is not None:
                yield f"seed_{of_seed['seed']}/{name}", value
