"""Exports the weights of a student or a model.

python -m da_jax.export runs/resnet32x4_resnet8x4_da --format=safetensors \\
    --output exported

writes a folder of `model.json` and the weights: `model.safetensors` or `model.pth`
(with PyTorch's names for bundled architectures) or `model.msgpack` (Flax's). The other
commands accept the folder as a checkpoint. PyTorch loads the weights by one of

    model.load_state_dict(safetensors.torch.load_file("exported/model.safetensors"))
    model.load_state_dict(torch.load("exported/model.pth")["model"])
"""

import argparse
from pathlib import Path
from typing import Any

from da_jax.commands.command_line import (
    Parser,
    add_to_tables,
    exit_on_error,
    model_folder,
    start_jax,
)


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    from da_jax.storage.model_formats import FORMATS

    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint",
        type=model_folder,
        metavar="RUN",
        help="the folder of a run (its best student) or of a model",
    )
    parser.add_argument("--format", choices=list(FORMATS), default="safetensors")
    parser.add_argument("--output", type=Path, required=True, help="the new folder")
    parser.add_argument(
        "--last", action="store_true", help="of a run: the last student, not the best"
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="a config file that adds to MODELS",
    )
    return parser.parse_args()


def provenance(checkpoint: Path, last: bool) -> dict[str, Any]:
    """Returns an exported model's origin and accuracy, for `model.json`.

    Args:
      checkpoint: the folder of a run or of a model.
      last: whether a run's last student is exported, not its best.
    """
    from da_jax.analysis.report.runs import is_run_folder, read_run
    from da_jax.storage.files import read_json
    from da_jax.training.metrics import evaluated_top1
    from da_jax.training.results import weights_entry

    if not is_run_folder(checkpoint):
        return read_json(checkpoint / "model.json")
    run = read_run(checkpoint)
    if run.config is None:  # damaged, but the weights have their own checksums
        return {}
    origin = {"run": run.config["name"], "dataset": run.config["dataset"]}
    origin |= weights_entry(run.config)
    if not run.seeds:
        return origin
    best = max(run.seeds, key=lambda seed: evaluated_top1(seed["best"]))
    return {**origin, "seed": best["seed"], **best["last" if last else "best"]}


@exit_on_error()
def main() -> None:
    """Exports the weights to a new folder."""
    arguments = parse_arguments()
    start_jax()
    if arguments.config:
        add_to_tables(arguments.config)
    from da_jax.storage.model_folders import check_target, load_model, save_model

    check_target(arguments.output)
    model = load_model(arguments.checkpoint, last=arguments.last)
    origin = provenance(arguments.checkpoint, arguments.last)
    save_model(arguments.output, model, origin, arguments.format)
    print(f"{model.name} of {model.num_classes} classes is in {arguments.output}")
