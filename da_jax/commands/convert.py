"""Converts PyTorch checkpoints of mdistiller's architectures to model folders.

python -m convert --model resnet56 --source ckpt_epoch_240.pth
python -m convert --model resnet56 --source model.safetensors --dataset cifar100
python -m convert --all --source cifar_teachers.tar

The state dict may be in an entry of the file (model, state_dict, model_state_dict, net,
ema), and its names may have the prefixes of wrappers (module., _orig_mod., model.). No
code in the file is executed.
"""

import argparse
import math
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from da_jax.commands.command_line import Parser, exit_on_error, start_jax
from da_jax.errors import UserError

if TYPE_CHECKING:
    from da_jax.storage.model_folders import Model


OUTPUT = Path("checkpoints")
"""The default folder of model folders, in the working folder."""

NUM_CLASSES = 100


class Options(NamedTuple):
    """How checkpoints are read, and what is recorded.

    Attributes:
      num_classes: the expected number of classes.
      dataset: what the networks were trained on, if it is known.
      entry: of a file, with the weights; None for the first of
        `da_jax.convert.torch_file.ENTRIES`.
    """

    num_classes: int = NUM_CLASSES
    dataset: str | None = None
    entry: str | None = None


DEFAULTS = Options()


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", help="architecture of one checkpoint, e.g. resnet56")
    what.add_argument(
        "--all", action="store_true", help="convert every teacher of a release archive"
    )
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        help="PyTorch's file or .safetensors; with --all, cifar_teachers.tar",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"the model folder to write (default: {OUTPUT}/MODEL); with --all, the"
        f" folder of model folders (default: {OUTPUT})",
    )
    parser.add_argument("--num_classes", type=int, default=NUM_CLASSES)
    parser.add_argument(
        "--dataset",
        help="what the network was trained on, recorded for other commands",
    )
    parser.add_argument(
        "--entry", help="the file's entry with the weights, if it has several"
    )
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
    options = Options(arguments.num_classes, arguments.dataset, arguments.entry)
    if arguments.all:
        convert_release(arguments.source, arguments.output or OUTPUT, options)
    else:
        output = arguments.output or OUTPUT / arguments.model
        convert_file(arguments.model, arguments.source, output, options)


def convert_file(
    name: str, source: Path, output: Path, options: Options = DEFAULTS
) -> None:
    """Converts one checkpoint to the model folder `output`."""
    from da_jax.convert.checkpoint_file import open_checkpoint
    from da_jax.models import create_model
    from da_jax.storage.model_folders import check_target

    create_model(name)  # raises if it is unknown
    check_target(output)
    with open_checkpoint(source) as file:
        converted = read(name, file, str(source), options)
    save(converted, output, options.dataset)
    print(f"{name} of {options.num_classes} classes is in {output}")


def convert_release(source: Path, output: Path, options: Options = DEFAULTS) -> None:
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
                teachers.append(read(name, file, release.name(name), options))
    dataset = options.dataset
    if dataset is None and options.num_classes == NUM_CLASSES:
        dataset = "cifar100"  # of which mdistiller released teachers
    for teacher in teachers:
        save(teacher, output / teacher.model.name, dataset)
    print(table(teachers))
    print(f"{len(teachers)} teachers are in {output}")


def read(name: str, file: IO[bytes], label: str, options: Options) -> Converted:
    """Reads a checkpoint as architecture `name`.

    Args:
      name: a key of `da_jax.models.MODELS`.
      file: the checkpoint.
      label: its name in messages.
      options: the expected number of classes, and the file's entry.

    Raises:
      UserError: it is damaged, doesn't fit, or has another number of classes.
    """
    from da_jax.convert import checkpoint_file, state_dict
    from da_jax.storage.model_folders import Model

    arrays = checkpoint_file.load_arrays(file, label, options.entry)
    try:
        found = state_dict.num_classes(name, arrays)
        variables = state_dict.convert_state_dict(name, arrays)
    except UserError as error:
        raise UserError(f"{label}: {error}") from error
    if found != options.num_classes:
        raise UserError(
            f"{label} has {found} classes, not {options.num_classes}; if that is what"
            f" you want, add --num_classes {found}"
        )
    model = Model(name, found, state_dict.to_float32(variables))
    return Converted(model, label, checkpoint_file.sha256(file))


def save(converted: Converted, output: Path, dataset: str | None) -> None:
    """Writes a model folder with its provenance."""
    from da_jax.storage.model_folders import save_model

    provenance = {
        "source": converted.source,
        "source_sha256": converted.sha256,
    }
    if dataset:
        provenance["dataset"] = dataset
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
