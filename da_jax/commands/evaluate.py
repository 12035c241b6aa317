"""Evaluates a network on a test set.

python -m da_jax.evaluate --checkpoint checkpoints/resnet56
"""

import argparse
import json
from pathlib import Path
from typing import Any

from da_jax.commands.command_line import (
    Parser,
    add_data_options,
    add_to_tables,
    exit_on_error,
    find_dataset,
    model_folder,
    start_jax,
)
from da_jax.data import locations
from da_jax.errors import UserError
from da_jax.storage.descriptions import unconverted


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="architecture, checked if it is given")
    parser.add_argument(
        "--checkpoint",
        type=model_folder,
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
    model: str | None,
    checkpoint: Path,
    dataset: str,
    data_dir: Path,
    *,
    last: bool = False,
) -> dict[str, Any]:
    """Computes top-1 and top-5 accuracy in % and mean cross-entropy on the test set.

    Args:
      model: the expected architecture; None for any.
      checkpoint: the folder of a model or of a run.
      dataset: a key of `da_jax.data.DATASETS`.
      data_dir: the folder of prepared data sets.
      last: evaluate a run's last student, not its best.

    Returns:
      `top1`, `top5`, `loss`, the number of `examples`, and the names of the `model` and
      the `dataset`.

    Raises:
      UserError: something is missing or damaged, or the checkpoint holds another
        architecture or number of classes.
    """
    from da_jax.analysis.pretrained import load_pretrained
    from da_jax.data import load_dataset
    from da_jax.models import create_model, without_reused
    from da_jax.training.evaluation import evaluate_network

    if not checkpoint.is_dir():  # the imports of one that is may add the model
        if model:
            create_model(model)  # raises for an unknown name
        if message := unconverted(checkpoint, model or ""):
            raise UserError(message)
    loaded = load_pretrained(checkpoint, last=last)
    if model not in (None, loaded.model, without_reused(loaded.model)):
        raise UserError(f"{checkpoint} holds a {loaded.model}, not a {model}")
    data = load_dataset(dataset, data_dir)
    loaded.check_fits(dataset, data.num_classes)
    metrics = evaluate_network(loaded.network, loaded.variables, data)
    return {
        "model": loaded.model,
        "dataset": dataset,
        "top1": 100 * metrics["top1"],
        "top5": 100 * metrics["top5"],
        "loss": metrics["loss"],
        "examples": len(data.test.labels),
    }


@exit_on_error()
def main() -> None:
    """Prints the metrics."""
    arguments = parse_arguments()
    start_jax()
    if arguments.config:
        add_to_tables(arguments.config)
    figures = evaluate(
        arguments.model,
        arguments.checkpoint,
        find_dataset(arguments, [arguments.checkpoint]),
        locations.data_dir(arguments.data_dir),
        last=arguments.last,
    )
    print(
        f"{figures['model']} on the {figures['examples']:,} test images of"
        f" {figures['dataset']}: top-1 {figures['top1']:.2f} %,"
        f" top-5 {figures['top5']:.2f} %, cross-entropy {figures['loss']:.4f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
