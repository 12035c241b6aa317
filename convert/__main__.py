"""Converts a PyTorch checkpoint of mdistiller's into a model folder.

python -m convert --model resnet56 --source ckpt_epoch_240.pth --output checkpoints/resnet56
"""

import argparse
from pathlib import Path

from da_jax.command_line import run


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m convert", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", required=True, help="architecture, e.g. resnet56")
    parser.add_argument("--source", type=Path, required=True, help="PyTorch's file")
    parser.add_argument(
        "--output", type=Path, required=True, help="the model folder to write"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    from convert import convert_state_dict, torch_file
    from convert.state_dict import num_classes
    from da_jax.checkpointing import Model, save_model

    state_dict = torch_file.load_state_dict(arguments.source)
    variables = convert_state_dict(arguments.model, state_dict)
    model = Model(arguments.model, num_classes(state_dict), variables)
    provenance = {
        "source": arguments.source.name,
        "source_sha256": torch_file.sha256(arguments.source),
    }
    save_model(arguments.output, model, provenance)
    print(f"{model.name} of {model.num_classes} classes is in {arguments.output}")


if __name__ == "__main__":
    run(main)
