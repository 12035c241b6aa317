"""Where a run's metrics go: the console, `metrics.jsonl`, TensorBoard, W&B."""

import json
import math
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from da_jax.training.weights_and_biases import WeightsAndBiases

if TYPE_CHECKING:  # reports of runs import this file, and need no JAX
    from da_jax.analysis.gallery import Gallery

Record = dict[str, Any]
"""An epoch's metrics by name; accuracies in %, times in seconds.

Of several seeds they are means, and `seeds` has each seed's own.
"""


class Outlet(Protocol):
    """Where an epoch's scalars go, by name."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Hands over those after `step` training steps."""

    def close(self, failed: bool) -> None:
        """Waits until everything is written."""


class Writers:
    """A run's outlets, fed a record an epoch until they are left."""

    def __init__(
        self, workdir: Path, history: list[Record], config: dict[str, Any]
    ) -> None:
        """Starts them.

        Args:
          workdir: the run's folder.
          history: the records that the run being resumed has written already; what
            `metrics.jsonl` holds beyond them is written again.
          config: the run's, which says whether W&B is one.

        Raises:
          UserError: W&B can't be reached or refuses.
        """
        self._jsonl = workdir / "metrics.jsonl"
        temporary = self._jsonl.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(record) + "\n" for record in history))
        temporary.replace(self._jsonl)
        self._tensorboard = _TensorBoard(workdir)
        self._outlets: list[Outlet] = [self._tensorboard]
        if config["wandb"]["mode"]:
            outlet = WeightsAndBiases(workdir, config)
            for record in history:
                outlet.write(record["step"], dict(_scalars(record)))
            self._outlets.append(outlet)

    def write(self, record: Record) -> None:
        """Hands an epoch's record to every outlet."""
        with self._jsonl.open("a") as file:
            file.write(json.dumps(record) + "\n")
        tqdm.write(console_line(record))
        for outlet in self._outlets:
            outlet.write(record["step"], dict(_scalars(record)))

    @property
    def take_pictures(self) -> bool:
        """Whether there is an outlet for them, as the first record has shown."""
        return self._tensorboard.is_open

    def write_gallery(self, step: int, gallery: "Gallery", pages: np.ndarray) -> None:
        """Hands a gallery to the outlet that takes pictures.

        Args:
          step: of the training.
          gallery: what is shown.
          pages: its pictures, uint8 `[pages, H, W, 3]`.
        """
        self._tensorboard.write_gallery(step, gallery, pages)

    def __enter__(self) -> "Writers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for outlet in self._outlets:
            outlet.close(failed=kind is not None)


class _TensorBoard:
    """clu's TensorBoard writer; started by its first use, as it imports TensorFlow."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
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

    def write_gallery(self, step: int, gallery: "Gallery", pages: np.ndarray) -> None:
        moments = [f"after_{taken}_steps" for taken in gallery.steps]
        means = gallery.disagreement.mean(axis=1)
        disagreement = {
            f"gallery/disagreement_{moment}": float(mean)
            for moment, mean in zip(moments, means, strict=True)
        }
        distances = {
            f"gallery/distance_{moment}": of_pixels
            for moment, of_pixels in zip(moments, gallery.distances, strict=True)
            if of_pixels.any()
        }
        self._writer.write_images(step, {"gallery": pages})
        self._writer.write_scalars(step, disagreement)
        self._writer.write_histograms(step, distances)

    def _start(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # only its fatal messages
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # which it would announce
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
        self._writer = metric_writers.SummaryWriter(str(self._workdir))

    def close(self, failed: bool) -> None:
        if self._writer is not None:
            self._writer.close()


def create_record(
    progress: dict[str, float], seeds: list[int], metrics: list[dict[str, float]]
) -> Record:
    """An epoch's record.

    Args:
      progress: the epoch's number, steps, learning rate and seconds.
      seeds: of the students.
      metrics: each student's, accuracies as fractions; what isn't finite becomes None.
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
    """Accuracies as percentages instead of fractions; what isn't finite as None."""

    def one(name: str, value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return 100 * value if name.partition("_")[2].startswith("top") else value

    return {name: one(name, value) for name, value in metrics.items()}


def by_seed(record: Record) -> list[Record]:
    """A record's metrics of each seed."""
    return record.get("seeds", [record])


def judging_split(record: Record) -> str:
    """What judged an epoch: `test` as in the original, or `validation`, held out."""
    is_held_out = "validation_top1" in by_seed(record)[0]
    return "validation" if is_held_out else "test"


def is_due(epoch: int, every: int, num_epochs: int) -> bool:
    """Whether `epoch` (from 1) is a multiple of `every`, or the last."""
    return epoch % every == 0 or epoch == num_epochs


def evaluated(history: list[Record]) -> list[Record]:
    """The records of the epochs after which the students were evaluated."""
    names = ("test_top1", "validation_top1")
    return [
        record
        for record in history
        if any(name in by_seed(record)[0] for name in names)
    ]


def judged_top1(record: Record) -> float:
    """The top-1 accuracy in % by which an epoch is judged."""
    top1: float = record[f"{judging_split(record)}_top1"]
    return top1


def _scalars(record: Record) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, int | float) and name != "step":
            yield name, value
    for of_seed in record.get("seeds", []):
        for name, value in of_seed.items():
            if name != "seed" and value is not None:
                yield f"seed_{of_seed['seed']}/{name}", value


def console_line(record: Record) -> str:
    """An epoch's record for people, in one line."""
    parts = [
        f"epoch {record['epoch']:3d}",
        f"lr {record['learning_rate']:.3g}",
        f"loss {_figure(record['train_loss'], '.4f')}",
        f"train {record['train_top1']:.2f} %",
    ]
    if evaluated([record]):
        split = judging_split(record)
        parts.append(
            f"{split} {record[f'{split}_top1']:.2f} %"
            f" (top-5 {record[f'{split}_top5']:.2f} %)"
        )
    if "seeds" in record:
        parts[-1] += f", {len(record['seeds'])} seeds' mean"
    if "train_augmented" in record:
        parts.append(
            f"augmented {record['train_augmented']:.2f}, disagreement"
            f" {_figure(record['train_disagreement_before'], '.2e')} →"
            f" {_figure(record['train_disagreement_after'], '.2e')}"
        )
    parts.append(f"{record['seconds']:.1f} s")
    return " | ".join(parts)


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
