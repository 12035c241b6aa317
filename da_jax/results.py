"""What a finished run amounts to: `results.json` and a line for people."""

import importlib.metadata
import platform
import statistics
from typing import Any

import jax
from ml_collections import ConfigDict

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


def create_results(config: ConfigDict, history: list[Record]) -> dict[str, Any]:
    """The content of `results.json`.

    `best` follows the original's protocol: the best epoch, picked on the test set; each
    seed has its own. `best` and `last` are means over the seeds, and `test_top1_std`
    the standard deviation (n − 1), None of a single seed. A seed whose loss wasn't
    finite any more has `diverged_at`, the first such step.
    """
    seeds = []
    for student, last in enumerate(by_seed(history[-1])):
        best = best_record(history, student)
        last = {"epoch": history[-1]["epoch"], **last}
        seeds.append(
            {
                "seed": config.seed + student,
                "best": {name: best[name] for name in ("epoch", *FIGURES)},
                "last": {name: last[name] for name in ("epoch", *FIGURES)},
            }
        )
        for record in history:
            if str(config.seed + student) in record.get("diverged", {}):
                diverged_at = record["diverged"][str(config.seed + student)]
                seeds[-1].setdefault("diverged_at", diverged_at)
    device = jax.devices()[0]
    return {
        "config": config.to_dict(),
        "protocol": "test-best",
        "best": _summary([seed["best"] for seed in seeds]),
        "last": _summary([seed["last"] for seed in seeds]),
        "seeds": seeds,
        "seconds_per_epoch": statistics.median(r["seconds"] for r in history),
        "versions": {"da-jax": da_jax.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
    }


def _summary(figures: list[dict[str, Any]]) -> dict[str, Any]:
    means = {
        name: statistics.fmean(values)
        for name in FIGURES
        if None not in (values := [of_seed[name] for of_seed in figures])
    }
    top1 = [of_seed["test_top1"] for of_seed in figures]
    std = statistics.stdev(top1) if len(top1) > 1 else None
    return {"test_top1_std": std, **means}


def summary_line(results: dict[str, Any]) -> str:
    """A finished run in one line."""
    config, best, last = results["config"], results["best"], results["last"]
    pair = config["student"]
    if config["teacher"]["model"]:
        pair = f"{config['teacher']['model']} → {pair}"
    method = config["method"]
    if config["augmentation"] != "none":
        names = {"disagreement": "DA"}
        method += f" + {names.get(config['augmentation'], config['augmentation'])}"
    count = len(results["seeds"])
    seeds = f" {count} seeds |" if count > 1 else ""
    return (
        f"{config['dataset']} | {pair} | {method} |"
        f" best {_accuracy(best)} | last {_accuracy(last)} |{seeds}"
        f" {results['seconds_per_epoch']:.1f} s an epoch"
    )


def _accuracy(summary: dict[str, Any]) -> str:
    if summary["test_top1_std"] is None:
        return f"{summary['test_top1']:.2f} %"
    return f"{summary['test_top1']:.2f} ± {summary['test_top1_std']:.2f} %"
