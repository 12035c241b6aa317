"""Checks of the files in a run folder."""

from typing import Any, TypeGuard

from da_jax.training.metrics import by_seed, evaluation_split, is_due

CONFIG = {
    "seed": int,
    "num_seeds": int,
    "num_epochs": int,
    "batch_size": int,
    "dataset": str,
    "student": str,
    "teacher": dict,
    "method": str,
    "augmentation": str,
}
"""The required fields of a config, and their types."""

RECORD = {"epoch": int, "step": int, "seconds": float}
"""The required fields of an epoch's record, and their types."""

LARGEST = 1e15
"""The largest plausible number."""


class DamagedError(ValueError):
    """A file has missing or implausible content; the message says what is wrong."""


def check_config(content: Any) -> None:
    """Checks the content of `config.json`.

    Raises:
      DamagedError: a field is missing or has a wrong value.
    """
    for name, kind in CONFIG.items():
        _field(content, name, kind)
    _field(content["teacher"], "model", str)
    if _field({"eval_every": 1} | content, "eval_every", int) < 1:
        raise DamagedError(f"its eval_every is {content['eval_every']!r:.40}")


def check_record(content: Any, config: dict[str, Any]) -> None:
    """Checks the record of an epoch of a run with this config.

    Raises:
      DamagedError: as `check_config`.
    """
    for name, kind in RECORD.items():
        if _field(content, name, kind) <= 0:
            raise DamagedError(f"its {name} is {content[name]!r:.40}")
    if "diverged" in content:
        _field(content, "diverged", dict)
    students = by_seed(content)
    if not isinstance(students, list) or len(students) != config["num_seeds"]:
        raise DamagedError(f"it isn't of {config['num_seeds']} seeds")
    if not all(isinstance(student, dict) for student in students):
        raise DamagedError("its seeds aren't objects")
    every = config.get("eval_every", 1)
    if not is_due(content["epoch"], every, config["num_epochs"]):
        return
    split = evaluation_split(content)
    for student in students:
        _check_figures(student, split)


def check_results(content: Any) -> None:
    """Checks the content of `results.json`; older ones have no teacher.

    Raises:
      DamagedError: as `check_config`.
    """
    _field(_field(content, "device", dict), "count", int)
    _field(content["device"], "kind", str)
    if "cores" in content["device"]:
        _field(content["device"], "cores", int)
    _field(content, "versions", dict)
    if content.get("teacher") is not None:
        _check_figures(content["teacher"])
    seeds = _field(content, "seeds", list)
    if not seeds:
        raise DamagedError("there are no seeds")
    for seed in seeds:
        _field(seed, "seed", int)
        for name in ("best", "last"):
            figures = _field(seed, name, dict)
            _field(figures, "epoch", int)
            _check_figures(figures)


def _check_figures(figures: Any, split: str = "test") -> None:
    _field(figures, f"{split}_top1", float)
    for name in (f"{split}_top5", f"{split}_loss"):
        if not (isinstance(figures, dict) and figures.get(name, "") is None):
            _field(figures, name, float)


def _field(content: Any, name: str, kind: type) -> Any:
    """Returns `content[name]` if it has the type `kind`; float allows an int."""
    if not isinstance(content, dict) or name not in content:
        raise DamagedError(f"it has no {name}")
    value = content[name]
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or (kind in (int, float) and not is_number(value)):
        raise DamagedError(f"its {name} is {value!r:.40}")
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether `value` is a finite, plausible number."""
    return type(value) in (int, float) and abs(value) <= LARGEST
