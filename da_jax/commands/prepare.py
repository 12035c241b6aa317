"""Prepares a TFDS data set from an official archive on disk.

python -m da_jax.prepare --dataset cifar100 --archive cifar-100-binary.tar.gz
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from da_jax.commands.command_line import (
    Parser,
    exit_on_error,
)
from da_jax.data import locations

if TYPE_CHECKING:
    from da_jax.data.cifar_archive import Archive


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=["cifar100"], required=True)
    parser.add_argument(
        "--archive",
        type=Path,
        required=True,
        help="cifar-100-binary or cifar-100-python, as .tar.gz or unpacked",
    )
    parser.add_argument(
        "--data_dir",
        type=Path,
        default=locations.data_dir(),
        help="TFDS's folder of prepared data sets (default: %(default)s)",
    )
    return parser.parse_args()


@exit_on_error()
def main() -> None:
    """Prepares the data set, unless it is prepared already."""
    arguments = parse_arguments()
    data_dir = arguments.data_dir.expanduser()
    from da_jax.data import cifar100  # imported late: --help needs no JAX
    from da_jax.data.cifar_archive import read_archive

    target = locations.prepared_cifar100(data_dir)
    if not target.exists():
        archive = read_archive(arguments.archive)
        with cifar100.locked(data_dir):
            if not target.exists():  # another process may have been faster
                cifar100.prepare(archive, data_dir)
                print(f"CIFAR-100 is prepared in {target}: {contents(archive)}")
                return
    print(f"CIFAR-100 is already prepared in {target}")


def contents(archive: "Archive") -> str:
    """Counts the images of an archive."""
    train, test = len(archive.train.images), len(archive.test.images)
    return f"{train:,} training and {test:,} test images"
