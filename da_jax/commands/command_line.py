"""How every command of ours ends."""

import argparse
import contextlib
import errno
import logging
import runpy
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import absl.logging

from da_jax.data import locations
from da_jax.errors import EXIT_CODE, UserError
from da_jax.training.interruption import RunEndedError


class Parser(argparse.ArgumentParser):
    """argparse's, but a mistake is one line as everywhere else."""

    def error(self, message: str) -> NoReturn:
        """Raises it as a `UserError`."""
        raise UserError(f"{message} (`{self.prog} --help` lists what there is)")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """`--dataset`, `--data_dir`, and `--config` for `add_to_tables`."""
    parser.add_argument("--dataset", default="cifar100")
    parser.add_argument(
        "--data_dir",
        default="",
        help=f"prepared data sets (default: {locations.data_dir()})",
    )
    parser.add_argument(
        "--config", type=Path, help="a config file that adds to MODELS or DATASETS"
    )


def add_to_tables(config: Path) -> None:
    """Runs a config file for what it adds to MODELS and DATASETS.

    Raises:
      UserError: there is no such file.
    """
    if not config.is_file():
        raise UserError(f"--config {config} is not a file")
    runpy.run_path(str(config))


DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
"""Of the machine, not of ours: a full, a broken, a read-only disk."""


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """Decorates a command: a user's mistake ends it with one line and exit code 2."""
    # What Orbax raises it logs too, and TensorStore's threads print it.
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logger = logging.getLogger("da_jax")
    logger.handlers = [_Warnings(logging.WARNING)]
    sys.unraisablehook = _print_of_the_main_thread
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        what = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {what}{error.strerror}; what was written before is as it was, and"
            " when that is mended the same command goes on",
            file=sys.stderr,
        )
        sys.exit(EXIT_CODE)
    except RunEndedError as end:
        print(end, file=sys.stderr)
        sys.exit(end.exit_code)
    except KeyboardInterrupt:
        print("interrupted before there was anything to keep", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


class _Warnings(logging.Handler):
    """Prints the package's warnings to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


def _print_of_the_main_thread(unraisable: "sys.UnraisableHookArgs") -> None:
    if threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(unraisable)
