"""What a finished run amounts to: `results.json` and a line for people."""

import importlib.metadata
import platform
import statistics
from typing import Any

import jax
from ml_collections import ConfigDict

import da_jax
from da_jax.metrics import Record

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def best_record(history: list[Record]) -> Record:
    """The epoch of the highest test accuracy, the first of equals."""
    return max(history, key=lambda record: record["test_top1"])


def create_results(config: ConfigDict, history: list[Record]) -> dict[str, Any]:
    """The content of `results.json`.

    `best` follows the original's protocol: the best epoch, picked on the test set.
    """
    names = ("epoch", "test_top1", "test_top5", "test_loss")
    best, last = best_record(history), history[-1]
    device = jax.devices()[0]
    return {
        "config": config.to_dict(),
        "protocol": "test-best",
        "best": {name: best[name] for name in names},
        "last": {name: last[name] for name in names},
        "seconds_per_epoch": statistics.median(r["seconds"] for r in history),
        "versions": {"da-jax": da_jax.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
    }


def summary_line(results: dict[str, Any]) -> str:
    """A finished run in one line."""
    config, best, last = results["config"], results["best"], results["last"]
    pair = config["student"]
    if config["teacher"]["model"]:
        pair = f"{config['teacher']['model']} → {pair}"
    method = config["method"]
    if config["augmentation"] == "disagreement":
        method += " + DA"
    return (
        f"{config['dataset']} | {pair} | {method} |"
        f" best {best['test_top1']:.2f} % (epoch {best['epoch']}) |"
        f" last {last['test_top1']:.2f} % |"
        f" {results['seconds_per_epoch']:.1f} s an epoch"
    )
