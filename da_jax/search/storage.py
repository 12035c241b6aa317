"""The storage of a study: a database or a journal file that a URL names.

| URL | storage |
| --- | --- |
| `postgresql://USER:PASSWORD@HOST/DATABASE` | PostgreSQL, by psycopg 3 |
| `mysql://USER:PASSWORD@HOST/DATABASE` | MySQL, by SQLAlchemy's default driver |
| `sqlite:///FILE` | an SQLite file, for the processes of one machine |
| `journal://FILE` | Optuna's journal, also on network file systems |
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from da_jax.errors import UserError, install_command, reason, unknown_name

EXAMPLE = "postgresql://USER:PASSWORD@HOST/DATABASE"

DRIVERS = {"postgresql": "postgresql+psycopg"}
"""Dialects whose default driver, in SQLAlchemy, isn't the one that is tested here."""

EXTRAS = {"psycopg": "postgresql"}
"""The extras that install a driver."""

SQLITE_SECONDS, CONNECT_SECONDS = 60, 10
"""The longest waits for another process's lock, and for a server."""

CONNECTED = {"psycopg", "psycopg2", "pymysql", "mysqldb"}
"""Drivers that take `connect_timeout`."""

ATTEMPTS, PAUSE = 8, 0.5
"""Processes that create a database's tables at the same time get in each other's way;
the seconds between attempts."""


def create_storage(url: str) -> BaseStorage:
    """Opens the storage that a URL names; creates its tables if they are missing.

    Raises:
      UserError: the URL can't be read or reached, or its driver isn't installed. The
        message has neither the password nor the options of the URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UserError(f"--storage isn't a URL, such as {EXAMPLE}")
    dialect = scheme.partition("+")[0]
    if dialect not in SCHEMES:
        raise unknown_name("scheme of --storage", dialect, SCHEMES)
    return SCHEMES[dialect](url if dialect != "journal" else rest)


def _open_journal(file: str) -> BaseStorage:
    try:
        return JournalStorage(JournalFileBackend(file))
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or "it isn't a journal of Optuna"
        raise UserError(f"--storage journal://{file} can't be opened: {text}") from None


def _open_database(text: str) -> BaseStorage:
    address = text.partition("?")[0]
    try:
        url = make_url(text)
        if url.host and address.count("@") > 1:  # a part of the password, then
            raise ValueError
    except (ArgumentError, ValueError):
        # Its message may show the password, which is cut in the wrong place.
        raise UserError(
            f"--storage can't be read as a URL, such as {EXAMPLE}; characters like @"
            " and / in a password are written as %40 and %2F"
        ) from None
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    with storage_errors(text):
        try:
            return _connect(url)
        except (NoSuchModuleError, ImportError) as error:
            raise UserError(_missing_driver(url, error)) from None
        except RuntimeError as error:  # tables of another version
            raise UserError(f"{_place(text)} can't be used: {reason(error)}") from None


def _connect(url: URL) -> RDBStorage:
    """Connects to a database; tries again if other processes create it right now."""
    # Optuna takes the URL for a template.
    text = url.render_as_string(hide_password=False)
    text = text.replace("{", "{{").replace("}", "}}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return RDBStorage(text, _engine_arguments(url))
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            is_connected = not isinstance(error, OperationalError)
            is_a_race = is_connected or "already exists" in str(error)
            if not is_a_race or attempt == ATTEMPTS:
                raise
        time.sleep(PAUSE)
    raise AssertionError


def _engine_arguments(url: URL) -> dict[str, Any]:
    """Returns arguments of SQLAlchemy's engine: no wait is endless."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_SECONDS}}
    driver = url.drivername.partition("+")[2]
    timeout = {"connect_timeout": CONNECT_SECONDS} if driver in CONNECTED else {}
    # A server that was restarted has closed the connections of the pool.
    return {"connect_args": timeout, "pool_pre_ping": True}


SCHEMES: dict[str, Callable[[str], BaseStorage]] = {
    "postgresql": _open_database,
    "mysql": _open_database,
    "sqlite": _open_database,
    "journal": _open_journal,
}
"""What opens a URL, by its scheme without the driver."""


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Converts errors of the database that `url` names.

    Raises:
      UserError: it can't be reached.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UserError(
            f"the study in {_place(url)} can't be reached:"
            f" {_without_secrets(_first_reason(error), url)}; once it can, the same"
            " command resumes it"
        ) from None


def _missing_driver(url: URL, error: Exception) -> str:
    dialect, _, driver = url.drivername.partition("+")
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    name = getattr(cause, "name", None)
    if name is None:
        return f"--storage names {driver or dialect}, which SQLAlchemy doesn't know"
    install = f"install it, or name another: {dialect}+DRIVER://…"
    if name in EXTRAS:
        install = install_command(EXTRAS[name])
    return f"--storage={dialect}://… takes {name}, which isn't installed: {install}"


def _place(url: str) -> str:
    """Returns the parts of a URL that are no secret."""
    parsed = make_url(url)
    return URL.create(
        parsed.get_backend_name(),
        host=parsed.host,
        port=parsed.port,
        database=parsed.database,
    ).render_as_string()


def _first_reason(error: BaseException) -> str:
    """Returns the first line of the innermost error, the driver's."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("\n")[0]


def _without_secrets(text: str, url: str) -> str:
    """Removes the password and the options of a URL from a message."""
    parsed = make_url(url)
    options = (
        option
        for value in parsed.query.values()
        for option in ([value] if isinstance(value, str) else value)
    )
    for secret in filter(None, (parsed.password, *options)):
        text = text.replace(str(secret), "…")
    return text
