"""Evaluates a network on a test set.

python -m da_jax.evaluate --model resnet56 --checkpoint checkpoints/resnet56
"""

import argparse
import json
from pathlib import Path

from da_jax.commands.command_line import (
    Parser,
    add_data_options,
    add_to_tables,
    exit_on_error,
)
from da_jax.data import locations
from da_jax.errors import UserError


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = Parser(
        prog="python -m da_jax.evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", required=True, help="architecture, e.g. resnet56")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="the folder of a converted model, or of a run (its best student)",
    )
    parser.add_argument(
        "--last", action="store_true", help="of a run: the last student, not the best"
    )
    add_data_options(parser)
    parser.add_argument("--json", type=Path, help="also write the metrics to this file")
    return parser.parse_args()


def evaluate(
    model: str, checkpoint: Path, dataset: str, data_dir: Path, *, last: bool = False
) -> dict[str, float]:
    """Computes top-1 and top-5 accuracy in % and mean cross-entropy on the test set.

    Raises:
      UserError: something is missing or damaged, or the checkpoint holds another
        architecture or number of classes.
    """
    from da_jax.analysis.pretrained import load_pretrained
    from da_jax.data import load_dataset
    from da_jax.models import create_model, without_reused
    from da_jax.training.evaluation import evaluate_network

    if not checkpoint.is_dir():  # the imports of one that is may add the model
        create_model(model)  # raises for an unknown name
    loaded = load_pretrained(checkpoint, last=last)
    if model not in (loaded.model, without_reused(loaded.model)):
        raise UserError(f"{checkpoint} holds a {loaded.model}, not a {model}")
    data = load_dataset(dataset, data_dir)
    loaded.check_fits(dataset, data.num_classes)
    metrics = evaluate_network(loaded.network, loaded.variables, data)
    return {
        "top1": 100 * metrics["top1"],
        "top5": 100 * metrics["top5"],
        "loss": metrics["loss"],
        "examples": len(data.test.labels),
    }


@exit_on_error()
def main() -> None:
    """Prints the metrics."""
    arguments = parse_arguments()
    if arguments.config:
        add_to_tables(arguments.config)
    from da_jax.training.compilation import configure_compiler

    configure_compiler()
    data_dir = locations.data_dir(arguments.data_dir)
    figures = evaluate(
        arguments.model,
        arguments.checkpoint,
        arguments.dataset,
        data_dir,
        last=arguments.last,
    )
    print(
        f"{arguments.model} on the {figures['examples']:,} test images of"
        f" {arguments.dataset}: top-1 {figures['top1']:.2f} %,"
        f" top-5 {figures['top5']:.2f} %, cross-entropy {figures['loss']:.4f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
