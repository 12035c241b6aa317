"""What the robustness command is asked: parsed and checked, without JAX."""

import argparse
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from da_jax.analysis.robustness.settings import PARTS, Settings
from da_jax.commands.command_line import Parser, add_data_options
from da_jax.errors import UserError, unknown_name

DEFAULTS = Settings()
OUTPUT = "robustness"
"""The default output, inside the first student's folder."""


class Named(NamedTuple):
    """A network on the command line: `NAME=DIR`, or `DIR` named as the folder."""

    name: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> "Named":
        """A folder that is there may have an = in its name."""
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():
            return cls(Path(text).absolute().name, Path(text))
        return cls(name, Path(folder))


def _number(
    kind: Callable[[str], Any], text: str, least: float = 0, most: float = math.inf
) -> Any:
    """An argument's value, finite.

    Raises:
      ArgumentTypeError: it isn't of the kind, or out of its range.
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
    """The command's arguments.

    Raises:
      UserError: they can't be meant.
    """
    parser = Parser(
        prog="python -m da_jax.robustness",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--student",
        type=Named.parse,
        action="append",
        required=True,
        metavar="[NAME=]DIR",
        help="the folder of a run (its best student) or of a converted model; once for"
        " each student",
    )
    parser.add_argument(
        "--teacher", type=Named.parse, required=True, metavar="[NAME=]DIR"
    )
    parser.add_argument(
        "--last", action="store_true", help="of runs: their last students"
    )
    add_data_options(parser)
    parser.add_argument(
        "--num_images",
        type=_COUNT,
        help="the first so many test images (default: all)",
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
        help="the folder of robustness.json and robustness.png, made if it isn't there"
        f" (default: {OUTPUT} in the first student's folder)",
    )
    parser.add_argument("--no_figure", action="store_true", help="no robustness.png")
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
        help="part of the algorithm; nothing else depends on it (default: %(default)s)",
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
        help="of PGD, whose step is 2.5 budgets over them, and APGD (default:"
        " %(default)s)",
    )
    parser.add_argument("--seed", type=_SEED, default=DEFAULTS.seed)


def choose_parts(only: list[str] | None) -> list[str]:
    """The parts that `--only` names, in their order; all by default.

    Raises:
      UserError: one is unknown.
    """
    chosen = ",".join(only).split(",") if only else list(PARTS)
    for name in chosen:
        if name not in PARTS:
            raise unknown_name("part", name, PARTS)
    return [part for part in PARTS if part in chosen]


def check_networks(students: list[Named], teacher: Named) -> None:
    """Looks whether the folders are there and the names tell them apart.

    Raises:
      UserError: they don't.
    """
    named: dict[str, Path] = {}
    for role, network in [
        *(("student", student) for student in students),
        ("teacher", teacher),
    ]:
        if not network.folder.is_dir():
            raise UserError(
                f"--{role} {network.folder} is no folder; give that of a converted"
                " model or of a run"
            )
        if network.name in named:
            raise UserError(
                f"{named[network.name]} and {network.folder} are both called"
                f" {network.name!r}; give one another name: --{role}"
                f" NAME={network.folder}"
            )
        named[network.name] = network.folder


def check_output(folder: Path) -> None:
    """Refuses an output that can't be a folder.

    Raises:
      UserError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; choose a folder")
