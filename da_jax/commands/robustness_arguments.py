"""The arguments of the robustness command: parsing and checks, without JAX."""

import argparse
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from da_jax.analysis.robustness.settings import PARTS, Settings
from da_jax.commands.command_line import Parser, add_data_options, model_folder
from da_jax.errors import UserError, unknown_name
from da_jax.storage.descriptions import unconverted

DEFAULTS = Settings()
OUTPUT = "robustness"
"""The default output, inside the first student's folder."""


class NamedFolder(NamedTuple):
    """A network on the command line: `NAME=DIR`, or `DIR`, named after the folder."""

    name: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> "NamedFolder":
        """Parses it; the name of an existing folder may contain an =."""
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():
            return cls(Path(text).absolute().name, model_folder(text))
        return cls(name, model_folder(folder))


def _number(
    kind: Callable[[str], Any], text: str, least: float = 0, most: float = math.inf
) -> Any:
    """Parses a finite number.

    Raises:
      ArgumentTypeError: it isn't a number of this kind, or it is out of range.
    """
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if least <= value <= most and math.isfinite(value):
        return value
    what = "a whole number" if kind is int else "a number"
    upwards = "on" if most == math.inf else f"to {most}"
    raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {least} {upwards}")


_COUNT = functools.partial(_number, int, least=1)
_COUNT_OR_NONE = functools.partial(_number, int)
_AMOUNT = functools.partial(_number, float)
_SEED = functools.partial(_number, int, most=2**32 - 1)


def _budgets(text: str) -> tuple[float, ...]:
    return tuple(_number(float, word, most=255) for word in text.split(","))


def parse_arguments(description: str | None) -> argparse.Namespace:
    """Parses the command line.

    Raises:
      UserError: an argument is missing or invalid.
    """
    parser = Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--student",
        type=NamedFolder.parse,
        action="append",
        required=True,
        metavar="[NAME=]DIR",
        help="the folder of a run (its best student) or of a converted model; repeat it"
        " for several students",
    )
    parser.add_argument(
        "--teacher", type=NamedFolder.parse, required=True, metavar="[NAME=]DIR"
    )
    parser.add_argument(
        "--last", action="store_true", help="of runs: the last students, not the best"
    )
    add_data_options(parser)
    parser.add_argument(
        "--num_images",
        type=_COUNT,
        help="use the first test images only (default: all)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PART[,PART]",
        help=f"what to measure, of {', '.join(PARTS)} (default: all)",
    )
    _add_settings(parser)
    parser.add_argument(
        "--output",
        type=Path,
        help="the folder for robustness.json and robustness.png, created if needed"
        f" (default: {OUTPUT} in the first student's folder)",
    )
    parser.add_argument(
        "--no_figure", action="store_true", help="don't draw robustness.png"
    )
    return parser.parse_args()


def _add_settings(parser: Parser) -> None:
    ascent = parser.add_argument_group("disagreement")
    ascent.add_argument("--steps", type=_COUNT_OR_NONE, default=DEFAULTS.steps)
    ascent.add_argument(
        "--learning_rate",
        type=_AMOUNT,
        default=DEFAULTS.learning_rate,
        help="α, in units of normalised pixels (default: %(default)s)",
    )
    ascent.add_argument(
        "--batch_size",
        type=_COUNT,
        default=DEFAULTS.batch_size,
        help="of the ascent, which depends on it (default: %(default)s)",
    )
    attacks = parser.add_argument_group("attacks")
    attacks.add_argument(
        "--budgets",
        type=_budgets,
        default=DEFAULTS.budgets,
        metavar="255THS",
        help=f"default: {','.join(f'{budget:g}' for budget in DEFAULTS.budgets)}",
    )
    attacks.add_argument(
        "--iterations",
        type=_COUNT,
        default=DEFAULTS.iterations,
        help="of PGD, with step size 2.5 budget / iterations, and APGD (default:"
        " %(default)s)",
    )
    parser.add_argument("--seed", type=_SEED, default=DEFAULTS.seed)


def choose_parts(only: list[str] | None) -> list[str]:
    """Returns the parts that `--only` names, in the order of `PARTS`; all by default.

    Raises:
      UserError: one is unknown.
    """
    chosen = ",".join(only).split(",") if only else list(PARTS)
    for name in chosen:
        if name not in PARTS:
            raise unknown_name("part", name, PARTS)
    return [part for part in PARTS if part in chosen]


def check_networks(students: list[NamedFolder], teacher: NamedFolder) -> None:
    """Checks that the folders exist and the names are unique.

    Raises:
      UserError: a folder doesn't exist, or a name is used twice.
    """
    named: dict[str, Path] = {}
    for role, network in [
        *(("student", student) for student in students),
        ("teacher", teacher),
    ]:
        if not network.folder.is_dir():
            raise UserError(
                unconverted(network.folder)
                or f"--{role} {network.folder} is not a folder; give that of a"
                " converted model or of a run"
            )
        if network.name in named:
            raise UserError(
                f"{named[network.name]} and {network.folder} are both called"
                f" {network.name!r}; rename one with --{role}"
                f" NAME={network.folder}"
            )
        named[network.name] = network.folder


def check_output(folder: Path) -> None:
    """Refuses an output that is a file.

    Raises:
      UserError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; choose a folder")
