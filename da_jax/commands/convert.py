"""Converts mdistiller's PyTorch checkpoints to model folders.

python -m convert --model resnet56 --source ckpt_epoch_240.pth
python -m convert --all --source cifar_teachers.tar
"""

import argparse
import math
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from da_jax.commands.command_line import Parser, exit_on_error, start_jax
from da_jax.errors import UserError

if TYPE_CHECKING:
    from da_jax.storage.model_folders import Model


def parse_arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m convert", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="architecture of one checkpoint, e.g. resnet56")
    what.add_argument(
        "--all", action="store_true", help="convert every teacher of a release archive"
    )
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        help="PyTorch's file; with --all, cifar_teachers.tar",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="the model folder to write; with --all, the folder of model folders",
    )
    parser.add_argument("--num_classes", type=int, default=100)
    return parser.parse_args()


class Converted(NamedTuple):
    """A converted network, its source, and the sha256 of the source."""

    model: "Model"
    source: str
    sha256: str


@exit_on_error()
def main() -> None:
    arguments = parse_arguments()
    start_jax()
    if arguments.all:
        convert_release(arguments.source, arguments.output, arguments.num_classes)
    else:
        convert_file(
            arguments.model, arguments.source, arguments.output, arguments.num_classes
        )


def convert_file(name: str, source: Path, output: Path, num_classes: int) -> None:
    """Converts one checkpoint to the model folder `output`."""
    from da_jax.convert import torch_file
    from da_jax.models import create_model
    from da_jax.storage.model_folders import check_target

    create_model(name)  # raises if it is unknown
    check_target(output)
    with torch_file.open_checkpoint(source) as file:
        converted = read(name, file, str(source), num_classes)
    save(converted, output)
    print(f"{name} of {num_classes} classes is in {output}")


def convert_release(source: Path, output: Path, num_classes: int) -> None:
    """Converts all teachers of an archive, or none, to `output/NAME`."""
    from tqdm import tqdm

    from da_jax.convert.release import open_release
    from da_jax.models import create_model
    from da_jax.storage.model_folders import check_target

    with open_release(source) as release:
        for name in release.models:
            create_model(name)  # raises if it is unknown
            check_target(output / name)
        teachers = []
        for name in tqdm(release.models, unit="teacher", disable=None):
            with release.open(name) as file:
                teachers.append(read(name, file, release.name(name), num_classes))
    for teacher in teachers:
        save(teacher, output / teacher.model.name)
    print(table(teachers))
    print(f"{len(teachers)} teachers are in {output}")


def read(name: str, file: IO[bytes], label: str, num_classes: int) -> Converted:
    """Reads a checkpoint as architecture `name`.

    Args:
      name: a key of `da_jax.models.MODELS`.
      file: the checkpoint.
      label: its name in messages.
      num_classes: the expected number of classes.

    Raises:
      UserError: it is damaged, doesn't fit, or has another number of classes.
    """
    from da_jax.convert import state_dict, torch_file
    from da_jax.storage.model_folders import Model

    arrays = torch_file.load_state_dict(file, label)
    found = state_dict.num_classes(name, arrays)
    try:
        variables = state_dict.convert_state_dict(name, arrays)
    except UserError as error:
        raise UserError(f"{label}: {error}") from error
    if found != num_classes:
        raise UserError(
            f"{label} has {found} classes, not {num_classes}; if that is what you want,"
            f" add --num_classes {found}"
        )
    return Converted(Model(name, found, variables), label, torch_file.sha256(file))


def save(converted: Converted, output: Path) -> None:
    """Writes a model folder with its provenance."""
    from da_jax.storage.model_folders import save_model

    provenance = {
        "source": converted.source,
        "source_sha256": converted.sha256,
    }
    save_model(output, converted.model, provenance)


def table(teachers: list[Converted]) -> str:
    """Formats the converted teachers as a table."""
    import flax.traverse_util

    lines = [f"{'name':12} {'parameters':>10} {'tensors':>7}  sha256"]
    for model, _, sha256 in teachers:
        flat = flax.traverse_util.flatten_dict(model.variables)
        parameters = sum(
            math.prod(leaf.shape) for path, leaf in flat.items() if path[0] == "params"
        )
        lines.append(f"{model.name:12} {parameters:10,} {len(flat):7}  {sha256}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
