"""Errors whose messages are written for the user."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """A user's mistake; the message says in one line what is wrong and what to do.

    Commands print the message without a traceback and exit with `EXIT_CODE`.
    """


EXIT_CODE = 2


class DivergedError(UserError):
    """A run ended because no student's loss is finite any more."""

    def __init__(self, record: Mapping[str, Any], checkpoint: Path | None) -> None:
        """Describes the epoch's `record`.

        Args:
          record: a line of `metrics.jsonl`, which has `diverged`.
          checkpoint: the last one before it, if there is one.
        """
        steps = ", ".join(
            f"seed {seed} at step {step}" for seed, step in record["diverged"].items()
        )
        good = f"the last good checkpoint is {checkpoint}; " if checkpoint else ""
        super().__init__(
            f"the loss isn't finite any more: {steps}, in epoch {record['epoch']} at"
            f" learning rate {record['learning_rate']:.3g}; {good}try a smaller"
            " config.optimizer.learning_rate in another --workdir"
        )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Creates the error for a `name` that isn't among the `known` ones."""
    known = list(known)
    meant = did_you_mean(near(name, known))
    listed = f"; known: {', '.join(known)}" if known else ""
    return UserError(f"unknown {kind} {name!r}{meant}{listed}")


def near(name: str, known: Iterable[str]) -> list[str]:
    """Returns up to three of the `known` names like `name`, the nearest first.

    If there are none, they are those that start with `name`. Upper and lower case are
    the same.
    """
    name = str(name).lower()
    by_lower: dict[str, list[str]] = {}
    for each in known:
        by_lower.setdefault(each.lower(), []).append(each)
    matches = difflib.get_close_matches(name, by_lower)
    if not matches and len(name) > 2:
        matches = [each for each in by_lower if each.startswith(name)]
    return [each for match in matches for each in by_lower[match]][:3]


def did_you_mean(names: Sequence[str]) -> str:
    """Returns names as a suggestion in brackets; "" for none."""
    *others, last = names or [""]
    listed = f"{', '.join(others)} or {last}" if others else last
    return f" (did you mean {listed}?)" if names else ""


def printable(text: str) -> str:
    """Returns a text from a file as a message may have it: short, and one line."""
    shortened = text if len(text) <= 80 else f"{text[:79]}…"
    return shortened if text.isprintable() else ascii(shortened)


def install_command(extra: str) -> str:
    """Returns the command that installs an extra, in a clone as from a wheel."""
    return f"pip install 'da-jax[{extra}]'"


def unreadable(path: Path, error: Exception) -> UserError:
    """Creates the error for a file or folder that can't be read because of `error`."""
    return UserError(
        f"{path} can't be read, it is incomplete or damaged: {reason(error)}"
    )


def reason(error: Exception) -> str:
    """Returns the first line of an error's message, or the name of its class."""
    return str(error).partition("\n")[0] or type(error).__name__
