"""The results of a run: the content of `results.json`, and a summary line.

Doesn't import JAX, so that reports start quickly.
"""

import importlib.metadata
import platform
import shlex
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import da_jax
from da_jax.training.metrics import (
    Record,
    by_seed,
    evaluated,
    evaluated_top1,
    evaluation_split,
)

FIGURES = ("top1", "top5", "loss")
PROTOCOLS = {"test": "test-best", "validation": "validation"}
"""How the best epoch was chosen, by the split that epochs were evaluated on."""
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def best_record(history: list[Record], student: int) -> Record:
    """Returns a student's metrics in its best epoch, the first one of equal accuracy.

    Args:
      history: a record per epoch; at least one was evaluated.
      student: the index of its seed.
    """
    best = max(
        evaluated(history),
        key=lambda record: evaluated_top1(by_seed(record)[student]),
    )
    return {"epoch": best["epoch"], **by_seed(best)[student]}


def best_student(history: list[Record]) -> int:
    """Returns the index of the seed with the best accuracy; 0 before any evaluation."""
    if not evaluated(history):
        return 0
    count = len(by_seed(history[-1]))
    top1 = [evaluated_top1(best_record(history, student)) for student in range(count)]
    return top1.index(max(top1))


def create_results(
    config: Mapping[str, Any],
    history: list[Record],
    device: dict[str, Any],
    tested: list[dict[str, Record]] | None = None,
    teacher: Record | None = None,
) -> dict[str, Any]:
    """Creates the content of `results.json`.

    `best` is each seed's best epoch on the split that `protocol` names: the test set,
    as in the original, or the held-out examples. `best` and `last` are means over the
    seeds; `test_top1_std` is the standard deviation (n − 1), None for a single seed.
    `weights` is "ema" if all of them are of the students' moving averages.

    Args:
      config: the config of the run, as a dictionary.
      history: a record per epoch.
      device: from `processes.device_description`.
      tested: each seed's metrics on the test set at `best` and `last`, if the epochs
        were evaluated on held-out examples.
      teacher: its metrics on the test set, or None without a teacher.
    """
    seeds = seed_results(config["seed"], history)
    for seed, figures in zip(seeds, tested or [], strict=bool(tested)):
        for which, test in figures.items():
            seed[which] |= test
    return {
        "config": config,
        **weights_entry(config),
        "protocol": PROTOCOLS[evaluation_split(history[-1])],
        "best": summary([seed["best"] for seed in seeds]),
        "last": summary([seed["last"] for seed in seeds]),
        "seeds": seeds,
        "teacher": teacher,
        "seconds_per_epoch": statistics.median(r["seconds"] for r in history),
        "command": command(),
        "versions": versions(),
        "device": device,
    }


def command() -> str:
    """Returns the command line of this process, quoted for a shell."""
    words = sys.orig_argv[1:]
    if words and Path(words[0]).name == "da-jax":
        return shlex.join(["da-jax", *words[1:]])
    return shlex.join(["python", *words])


def versions() -> dict[str, str]:
    """Returns the versions of da-jax, Python and the packages behind the results."""
    return {"da-jax": da_jax.__version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }


def seed_results(first_seed: int, history: list[Record]) -> list[dict[str, Any]]:
    """Returns the best and last metrics of each student, with its seed.

    The list is empty before the first evaluation. A student with an infinite or NaN
    loss has `diverged_at`, the first such step.

    Args:
      first_seed: the seed of the first student; the others follow it.
      history: a record per epoch.
    """
    seeds: list[dict[str, Any]] = []
    records = evaluated(history)
    if not records:
        return seeds
    split = evaluation_split(records[-1])
    names = ("epoch", *(f"{split}_{figure}" for figure in FIGURES))
    for student, last in enumerate(by_seed(records[-1])):
        seed = first_seed + student
        best = best_record(records, student)
        last = {"epoch": records[-1]["epoch"], **last}
        seeds.append(
            {
                "seed": seed,
                "best": {name: best[name] for name in names},
                "last": {name: last[name] for name in names},
            }
        )
        for record in history:
            if str(seed) in record.get("diverged", {}):
                seeds[-1].setdefault("diverged_at", record["diverged"][str(seed)])
    return seeds


def weights_entry(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the entry of files that hold, or measure, averages of the students."""
    return {"weights": "ema"} if config.get("ema_decay") else {}


def summary(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Computes means over seeds, and `SPLIT_top1_std` (n − 1; None for one seed)."""
    result: dict[str, Any] = {}
    for name in figures[0].keys() - {"epoch"}:
        values = [of_seed[name] for of_seed in figures]
        if None not in values:
            result[name] = statistics.fmean(values)
        if name.endswith("_top1"):
            std = statistics.stdev(values) if len(values) > 1 else None
            result[f"{name}_std"] = std
    return dict(sorted(result.items()))


def pair_name(config: Mapping[str, Any]) -> str:
    """Returns `TEACHER → STUDENT`, or the student without a teacher."""
    teacher, student = config["teacher"]["model"], config["student"]
    return f"{teacher} → {student}" if teacher else str(student)


def method_name(config: Mapping[str, Any]) -> str:
    """Returns the method and the augmentation, such as `KD + DA`."""
    if config["augmentation"] == "none":
        return str(config["method"])
    return f"{config['method']} + {augmentation_name(config)}"


def augmentation_name(config: Mapping[str, Any]) -> str:
    """Returns the augmentation as tables show it, such as `DA`."""
    names = {"disagreement": "DA"}
    return names.get(config["augmentation"], str(config["augmentation"]))


def summary_line(results: dict[str, Any]) -> str:
    """Summarises a finished run in one line."""
    config, best, last = results["config"], results["best"], results["last"]
    count = len(results["seeds"])
    seeds = f" {count} seeds |" if count > 1 else ""
    chosen = " (chosen on held-out examples)"
    return (
        f"{config['dataset']} | {pair_name(config)} | {method_name(config)} |"
        f" best{chosen if results['protocol'] == 'validation' else ''}"
        f" {accuracy(best)} % | last {accuracy(last)} % |{seeds}"
        f" {results['seconds_per_epoch']:.1f} s per epoch"
    )


def accuracy(figures: dict[str, Any]) -> str:
    """Formats a top-1 accuracy in %, ± its standard deviation over several seeds."""
    if figures["test_top1_std"] is None:
        return f"{figures['test_top1']:.2f}"
    return f"{figures['test_top1']:.2f} ± {figures['test_top1_std']:.2f}"
