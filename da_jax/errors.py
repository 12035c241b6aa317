"""The one exception whose message is written for the user."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """A user's mistake: the message says in one line what is wrong and what to do.

    The command lines print it without a traceback and exit with `EXIT_CODE`.
    """


EXIT_CODE = 2


class DivergedError(UserError):
    """A run was stopped because no student's loss is finite any more."""

    def __init__(self, record: Mapping[str, Any], workdir: Path) -> None:
        """`record` is the epoch's, of the run in `workdir`."""
        steps = ", ".join(
            f"seed {seed} at step {step}" for seed, step in record["diverged"].items()
        )
        super().__init__(
            f"the loss isn't finite any more: {steps}, in epoch {record['epoch']} at"
            f" learning rate {record['learning_rate']:.3g}; the last good checkpoint"
            f" is in {workdir / 'checkpoints'}; try a smaller"
            " config.optimizer.learning_rate in another --workdir"
        )


def warn(message: str) -> None:
    """Tells the user of something that went wrong, in one line on standard error."""
    print(f"warning: {message}", file=sys.stderr)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a `name` that is not one of the `known` ones of its `kind`."""
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file or folder that `error` came of when it was read."""
    return UserError(
        f"{path} can't be read, it is incomplete or damaged: {reason(error)}"
    )


def reason(error: Exception) -> str:
    """The first line of what `error` says, or its name."""
    return str(error).partition("\n")[0] or type(error).__name__
