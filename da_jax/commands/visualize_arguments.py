"""The arguments of the visualize command: parsing and checks, without JAX."""

import argparse
import math
from pathlib import Path
from typing import Any

from da_jax.commands.command_line import Parser, add_data_options, model_folder
from da_jax.config.prerequisites import missing_matplotlib
from da_jax.errors import UserError, unknown_name
from da_jax.storage.descriptions import unconverted

PARTS = ("gallery", "tsne", "correlation", "per_class")
NUM_CLASSES = 10
"""The default number of classes in the t-SNE plot."""


def parse_arguments(description: str | None) -> argparse.Namespace:
    """Parses the command line.

    Raises:
      UserError: an argument is missing or invalid.
    """
    parser = Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_networks(parser)
    parser.add_argument(
        "--output", type=Path, required=True, help="the folder for the pictures"
    )
    parser.add_argument(
        "--only",
        type=_words,
        default=list(PARTS),
        metavar="PART,…",
        help=f"some of {','.join(PARTS)} (default: all)",
    )
    parser.add_argument("--dpi", type=int, default=150, help="default: 150")
    parser.add_argument(
        "--seed", type=int, default=0, help="of random choices (default: 0)"
    )
    _add_gallery(parser.add_argument_group("gallery"))
    _add_tsne(parser.add_argument_group("tsne"))
    return parser.parse_args()


def _add_networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--student",
        type=model_folder,
        action="append",
        required=True,
        help="the folder of a run or a model; twice, to compare two, such as KD and DA",
    )
    parser.add_argument(
        "--teacher",
        type=model_folder,
        required=True,
        help="the folder of a model or a run",
    )
    parser.add_argument(
        "--last", action="store_true", help="of runs: the last students, not the best"
    )
    add_data_options(parser)


def _add_gallery(group: Any) -> None:
    images = group.add_mutually_exclusive_group()
    images.add_argument(
        "--images", type=_integers, metavar="INDEX,…", help="indices of test images"
    )
    images.add_argument(
        "--num_images",
        type=int,
        default=4,
        help="or a number of random ones (default: 4)",
    )
    group.add_argument(
        "--steps",
        type=_integers,
        default=[0, 1, 5, 10, 50],
        metavar="STEP,…",
        help="of the ascent; 0 is the original image (default: 0,1,5,10,50)",
    )
    group.add_argument(
        "--learning_rate",
        type=float,
        default=0.01778,
        help="α, in units of normalised pixels (default: 0.01778)",
    )


def _add_tsne(group: Any) -> None:
    classes = group.add_mutually_exclusive_group()
    classes.add_argument("--classes", type=_words, metavar="NAME,…")
    classes.add_argument(
        "--num_classes",
        type=int,
        help="or a number of random ones; more than 20 are hard to distinguish"
        f" (default: {NUM_CLASSES}, or all if there are fewer)",
    )
    group.add_argument(
        "--images_per_class", type=int, default=100, help="at most (default: 100)"
    )


def _words(value: str) -> list[str]:
    return [word for word in value.split(",") if word]


def _integers(value: str) -> list[int]:
    try:
        return [int(word) for word in _words(value)]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a list of whole numbers such as 0,1,5"
        ) from None


def check_arguments(arguments: argparse.Namespace) -> None:
    """Checks the arguments before anything slow starts.

    Raises:
      UserError: names the argument and its valid values.
    """
    for part in arguments.only:
        if part not in PARTS:
            raise unknown_name("part in --only", part, PARTS)
    steps, rate, students = arguments.steps, arguments.learning_rate, arguments.student
    checks = {
        "--only names no part": bool(arguments.only),
        "--student is given more than twice": len(students) <= 2,
        f"--student {students[0]} is given twice": len(set(students)) == len(students),
        "--steps must ascend from 0, such as 0,1,5": (
            steps[:1] == [0] and steps == sorted(set(steps))
        ),
        "--learning_rate must be at least 0": 0 <= rate < math.inf,
        "--images names no image": arguments.images != [],
        "--num_images must be at least 1": arguments.num_images >= 1,
        "--num_classes must be at least 2": arguments.num_classes is None
        or arguments.num_classes >= 2,
        "--classes must be at least 2": arguments.classes is None
        or len(set(arguments.classes)) >= 2,
        "--images_per_class must be at least 2": arguments.images_per_class >= 2,
        "--dpi must be from 30 to 600": 30 <= arguments.dpi <= 600,
        "--seed must be from 0 to 2**32 - 1": 0 <= arguments.seed < 2**32,
        f"--output {arguments.output} is a file": not arguments.output.is_file(),
    }
    for message, is_valid in checks.items():
        if not is_valid:
            raise UserError(message)
    for folder in (*students, arguments.teacher):
        if not folder.is_dir():
            other = f"{folder} is neither a converted model nor a run"
            raise UserError(unconverted(folder) or other)
    if missing := missing_matplotlib():
        raise UserError(missing)
