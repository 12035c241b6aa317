"""What all commands share: arguments, error messages and exit codes."""

import argparse
import contextlib
import errno
import logging
import runpy
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import absl.logging

from da_jax.data import locations
from da_jax.errors import EXIT_CODE, UserError
from da_jax.storage.bundled import locate
from da_jax.storage.descriptions import recorded_dataset
from da_jax.training.interruption import RunEndedError

DEFAULT_DATASET = "cifar100"


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` with errors of one line, named as its user called it."""

    def __init__(self, **arguments: Any) -> None:
        """Creates a parser; `prog` is by default `da-jax COMMAND` or `python -m …`."""
        super().__init__(**{"prog": _program()} | arguments)

    def error(self, message: str) -> NoReturn:
        """Raises a `UserError`."""
        raise UserError(f"{message} (see `{self.prog} --help`)")


def _program() -> str:
    """Returns the words that start this command."""
    module = getattr(sys.modules["__main__"].__spec__, "name", "da_jax.__main__")
    if module == "da_jax.__main__":
        return sys.argv[0]  # as the dispatcher has set it
    return f"python -m {module.removesuffix('.__main__')}"


def model_folder(text: str) -> Path:
    """Returns the folder that an argument names, which may be a bundled model's."""
    return locate(Path(text))


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--dataset`, `--data_dir`, and `--config` for `add_to_tables`."""
    parser.add_argument(
        "--dataset",
        help="default: what the folders record, or else " + DEFAULT_DATASET,
    )
    parser.add_argument(
        "--data_dir",
        default="",
        help=f"folder of prepared data sets (default: {locations.data_dir()})",
    )
    parser.add_argument(
        "--config", type=Path, help="a config file that adds to MODELS or DATASETS"
    )


def find_dataset(arguments: argparse.Namespace, folders: Sequence[Path]) -> str:
    """Returns the name of the data set: as given, or else as the folders record it.

    Args:
      arguments: `dataset` and `data_dir`, see `add_data_options`.
      folders: of the networks.

    Raises:
      UserError: the folders record several, or it isn't prepared.
    """
    recorded: dict[str, Path] = {}
    for folder in folders if not arguments.dataset else ():
        recorded.setdefault(recorded_dataset(folder), folder)
    recorded.pop("", None)
    if len(recorded) > 1:
        each = ", ".join(f"{folder} on {name}" for name, folder in recorded.items())
        raise UserError(f"trained on different data sets ({each}); give a --dataset")
    name = arguments.dataset or next(iter(recorded), DEFAULT_DATASET)
    missing = locations.missing_dataset(name, locations.data_dir(arguments.data_dir))
    if missing and not arguments.dataset and not recorded:
        missing += "; for another data set, give a --dataset"
    if missing:
        raise UserError(missing)
    return str(name)


def add_to_tables(config: Path) -> None:
    """Runs a config file, which may add to MODELS and DATASETS.

    Raises:
      UserError: it isn't a file.
    """
    if not config.is_file():
        raise UserError(f"--config {config} is not a file")
    runpy.run_path(str(config))


def start_jax() -> None:
    """Sets the compiler's options and checks the devices, before JAX is used.

    Raises:
      UserError: a device that the environment asks for is missing.
    """
    from da_jax.training.compilation import configure_compiler  # --help needs no JAX
    from da_jax.training.devices import check_devices

    configure_compiler()
    check_devices()


DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
"""Errors of the disk, not of this program: it is full, broken or read-only."""


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """Decorates a command: a `UserError` ends it with one line and exit code 2."""
    # Orbax also logs the errors that it raises, and TensorStore's threads print them.
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logger = logging.getLogger("da_jax")
    logger.handlers = [_Warnings(logging.WARNING)]
    logger.propagate = False  # absl gives the root logger a handler of its own
    sys.unraisablehook = _print_of_the_main_thread
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        file = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {file}{error.strerror}; files written before are unchanged, and"
            " the same command resumes once this is fixed",
            file=sys.stderr,
        )
        sys.exit(EXIT_CODE)
    except RunEndedError as end:
        print(end, file=sys.stderr)
        sys.exit(end.exit_code)
    except KeyboardInterrupt:
        print("interrupted before anything was saved", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


class _Warnings(logging.Handler):
    """Prints the package's warnings to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


def _print_of_the_main_thread(unraisable: "sys.UnraisableHookArgs") -> None:
    if threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(unraisable)
