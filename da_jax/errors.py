"""The one exception whose message is written for the user."""

from collections.abc import Iterable


class UserError(ValueError):
    """A user's mistake: the message says in one line what is wrong and what to do.

    The command lines print it without a traceback and exit with `EXIT_CODE`.
    """


EXIT_CODE = 2


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a `name` that is not one of the `known` ones of its `kind`."""
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
