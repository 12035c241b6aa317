"""Knowledge distillation with Disagreement Augmentation, in JAX and Flax.

commands:
  train        trains a student or a teacher
  evaluate     computes a network's accuracy on a test set
  prepare      prepares a data set from an official archive
  convert      converts PyTorch checkpoints
  robustness   measures accuracy on harder test images
  visualize    draws pictures of students and their teacher
  report       writes a page, a table and charts of any number of runs
  search       searches for hyperparameters
  export       exports a network's weights

`da-jax COMMAND --help` lists the arguments of a command.
"""

import argparse
import importlib
import sys

import da_jax
from da_jax.commands.command_line import Parser, exit_on_error
from da_jax.errors import unknown_name

COMMANDS = {
    "train": "da_jax.commands.train",
    "evaluate": "da_jax.commands.evaluate",
    "prepare": "da_jax.commands.prepare",
    "convert": "da_jax.commands.convert",
    "robustness": "da_jax.commands.robustness",
    "visualize": "da_jax.commands.visualize",
    "report": "da_jax.commands.report",
    "search": "da_jax.commands.sweep",
    "export": "da_jax.commands.export",
}
"""The module of each command; its `main` reads `sys.argv`."""


@exit_on_error()
def main() -> None:
    """Runs the command that the first argument names, on the arguments after it."""
    parser = Parser(
        prog="da-jax",
        usage="da-jax COMMAND [ARGUMENT ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"da-jax {da_jax.__version__}"
    )
    parser.add_argument("command", help=argparse.SUPPRESS)
    command = parser.parse_args(sys.argv[1:2]).command
    if command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS)
    sys.argv = [f"da-jax {command}", *sys.argv[2:]]
    importlib.import_module(COMMANDS[command]).main()
