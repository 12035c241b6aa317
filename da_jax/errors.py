"""Errors whose messages are written for the user."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """A user's mistake; the message says in one line what is wrong and what to do.

    Commands print the message without a traceback and exit with `EXIT_CODE`.
    """


EXIT_CODE = 2


class DivergedError(UserError):
    """A run ended because no student's loss is finite any more."""

    def __init__(self, record: Mapping[str, Any], workdir: Path) -> None:
        """Describes the epoch's `record` of the run in `workdir`."""
        steps = ", ".join(
            f"seed {seed} at step {step}" for seed, step in record["diverged"].items()
        )
        super().__init__(
            f"the loss isn't finite any more: {steps}, in epoch {record['epoch']} at"
            f" learning rate {record['learning_rate']:.3g}; the last good checkpoint"
            f" is in {workdir / 'checkpoints'}; try a smaller"
            " config.optimizer.learning_rate in another --workdir"
        )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Creates the error for a `name` that isn't among the `known` ones."""
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


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
