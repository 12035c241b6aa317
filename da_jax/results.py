"""What a run amounts to: `results.json` and a line for people.

Without JAX, so that reports of runs start quickly.
"""

import importlib.metadata
import platform
import statistics
from collections.abc import Mapping
from typing import Any

import da_jax
from da_jax.metrics import Record, by_seed

FIGURES = ("test_top1", "test_top5", "test_loss")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def best_record(history: list[Record], student: int) -> Record:
    """A student's metrics in the epoch of its best test accuracy, the first of equals.

    Args:
      history: a record an epoch.
      student: which of the seeds, from 0.
    """
    best = max(history, key=lambda record: by_seed(record)[student]["test_top1"])
    return {"epoch": best["epoch"], **by_seed(best)[student]}


def best_student(history: list[Record]) -> int:
    """Which of the seeds has the best test accuracy of all, from 0."""
    count = len(by_seed(history[-1]))
    top1 = [best_record(history, student)["test_top1"] for student in range(count)]
    return top1.index(max(top1))


def create_results(
    config: Mapping[str, Any], history: list[Record], device: dict[str, Any]
) -> dict[str, Any]:
    """The content of `results.json`.

    `best` follows the original's protocol: the best epoch, picked on the test set; each
    seed has its own. `best` and `last` are means over the seeds, and `test_top1_std`
    the standard deviation (n − 1), None of a single seed.

    Args:
      config: the run's, as a dictionary.
      history: a record for each of its epochs.
      device: as `parallel.device_description` has it.
    """
    seeds = seed_results(config["seed"], history)
    return {
        "config": config,
        "protocol": "test-best",
        "best": summary([seed["best"] for seed in seeds]),
        "last": summary([seed["last"] for seed in seeds]),
        "seeds": seeds,
        "seconds_per_epoch": statistics.median(r["seconds"] for r in history),
        "versions": {"da-jax": da_jax.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": device,
    }


def seed_results(first_seed: int, history: list[Record]) -> list[dict[str, Any]]:
    """The best and last figures of each student, of the seeds from `first_seed` on.

    One whose loss wasn't finite any more has `diverged_at`, the first such step.
    """
    seeds = []
    for student, last in enumerate(by_seed(history[-1])):
        seed = first_seed + student
        best = best_record(history, student)
        last = {"epoch": history[-1]["epoch"], **last}
        seeds.append(
            {
                "seed": seed,
                "best": {name: best[name] for name in ("epoch", *FIGURES)},
                "last": {name: last[name] for name in ("epoch", *FIGURES)},
            }
        )
        for record in history:
            if str(seed) in record.get("diverged", {}):
                seeds[-1].setdefault("diverged_at", record["diverged"][str(seed)])
    return seeds


def summary(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and `test_top1_std` (n − 1; None of a single seed)."""
    means = {
        name: statistics.fmean(values)
        for name in FIGURES
        if None not in (values := [of_seed[name] for of_seed in figures])
    }
    top1 = [of_seed["test_top1"] for of_seed in figures]
    std = statistics.stdev(top1) if len(top1) > 1 else None
    return {"test_top1_std": std, **means}


def pair_name(config: Mapping[str, Any]) -> str:
    """`TEACHER → STUDENT`, or the student that has no teacher."""
    teacher, student = config["teacher"]["model"], config["student"]
    return f"{teacher} → {student}" if teacher else str(student)


def method_name(config: Mapping[str, Any]) -> str:
    """The method, and what moves its images."""
    if config["augmentation"] == "none":
        return str(config["method"])
    names = {"disagreement": "DA"}
    augmentation = names.get(config["augmentation"], config["augmentation"])
    return f"{config['method']} + {augmentation}"


def summary_line(results: dict[str, Any]) -> str:
    """A finished run in one line."""
    config, best, last = results["config"], results["best"], results["last"]
    count = len(results["seeds"])
    seeds = f" {count} seeds |" if count > 1 else ""
    return (
        f"{config['dataset']} | {pair_name(config)} | {method_name(config)} |"
        f" best {accuracy(best)} % | last {accuracy(last)} % |{seeds}"
        f" {results['seconds_per_epoch']:.1f} s an epoch"
    )


def accuracy(figures: dict[str, Any]) -> str:
    """A summary's top-1 accuracy in %, ± its standard deviation if there is one."""
    if figures["test_top1_std"] is None:
        return f"{figures['test_top1']:.2f}"
    return f"{figures['test_top1']:.2f} ± {figures['test_top1_std']:.2f}"
