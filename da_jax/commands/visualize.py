"""Draws pictures of one or two students and their teacher on a test set.

python -m da_jax.visualize --student runs/resnet56_resnet20_da \\
    --teacher checkpoints/resnet56 --output pictures

- gallery: test images during the ascent, and the likeliest classes of both networks
- tsne: the features of some classes, by t-SNE
- correlation: differences of class correlations and mean logits to the teacher's
- per_class: the change in accuracy on each class, from the teacher or another student

The pictures are PNG files; visualize.json has their data and descriptions in words.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from da_jax.commands.command_line import (
    add_to_tables,
    exit_on_error,
    find_dataset,
    start_jax,
)
from da_jax.commands.visualize_arguments import (
    NUM_CLASSES,
    PARTS,
    check_arguments,
    parse_arguments,
)
from da_jax.data import locations
from da_jax.errors import UserError, unknown_name

if TYPE_CHECKING:
    from da_jax.analysis.pictures.visualization_data import VisualizationData

CONTENT = "visualize.json"


def choose_images(arguments: argparse.Namespace, num_examples: int) -> list[int]:
    """Returns the indices of the gallery's images, as given or random.

    Raises:
      UserError: there is no such image, or there are fewer images.
    """
    from da_jax.analysis import gallery

    if arguments.images is None:
        if arguments.num_images > num_examples:
            raise UserError(
                f"--num_images is {arguments.num_images}, but {arguments.dataset} has"
                f" {num_examples} test images"
            )
        return gallery.sample_images(arguments.num_images, num_examples, arguments.seed)
    for index in arguments.images:
        if not 0 <= index < num_examples:
            raise UserError(
                f"--images has {index}, but the test images of {arguments.dataset} are"
                f" 0 to {num_examples - 1}"
            )
    return arguments.images


def choose_classes(arguments: argparse.Namespace, names: Sequence[str]) -> list[int]:
    """Returns the sorted labels of the t-SNE's classes, as given or random.

    Raises:
      UserError: there is no such class, or there are fewer classes.
    """
    if arguments.classes is not None:
        for name in arguments.classes:
            if name not in names:
                raise unknown_name(f"class of {arguments.dataset}", name, names)
        return sorted({names.index(name) for name in arguments.classes})
    count = arguments.num_classes
    if count is None:
        count = min(NUM_CLASSES, len(names))
    if count > len(names):
        raise UserError(
            f"--num_classes is {count}, but {arguments.dataset} has"
            f" {len(names)} classes"
        )
    return sorted(random.Random(arguments.seed).sample(range(len(names)), count))


def load_visualization_data(arguments: argparse.Namespace) -> "VisualizationData":
    """Loads the data and the networks.

    Raises:
      UserError: one of them is missing or damaged, or a network has another number
        of classes.
    """
    from da_jax.analysis.pictures.visualization_data import (
        PictureOptions,
        VisualizationData,
    )
    from da_jax.analysis.pretrained import load_pretrained
    from da_jax.data import load_dataset

    folders = (arguments.teacher, *arguments.student)
    networks = [load_pretrained(folder, last=arguments.last) for folder in folders]
    data_dir = locations.data_dir(arguments.data_dir)
    dataset = load_dataset(arguments.dataset, data_dir)
    for network in networks:
        network.check_fits(arguments.dataset, dataset.num_classes)
    options = PictureOptions(
        images=choose_images(arguments, len(dataset.test.labels)),
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        classes=choose_classes(arguments, dataset.class_names),
        images_per_class=arguments.images_per_class,
        seed=arguments.seed,
    )
    return VisualizationData(networks[0], networks[1:], dataset, options)


def draw(
    data: "VisualizationData", parts: list[str], output: Path, dpi: int
) -> dict[str, Any]:
    """Draws all parts, then writes their pictures.

    Args:
      data: networks, data set and options.
      parts: some of `PARTS`.
      output: the folder, created if needed.
      dpi: dots per inch; with a multiple of 30, pixels of images are squares of dots.

    Returns:
      The pictures' part of `visualize.json`.
    """
    from da_jax.analysis.pictures.parts import PARTS as DRAW

    drawn = {part: DRAW[part](data) for part in parts}
    output.mkdir(parents=True, exist_ok=True)
    described = []
    for part, (pictures, _) in drawn.items():
        for picture in pictures:
            picture.save(output, dpi)
            described.append(
                {
                    "part": part,
                    "file": picture.name,
                    "title": picture.title,
                    "alt": picture.alt,
                }
            )
    content = {part: each.content for part, each in drawn.items()}
    return {"pictures": described, **content}


@exit_on_error()
def main() -> None:
    """Draws what the command line asks for, and writes visualize.json."""
    arguments = parse_arguments(__doc__)
    check_arguments(arguments)
    folders = (arguments.teacher, *arguments.student)
    arguments.dataset = find_dataset(arguments, folders)
    start_jax()
    if arguments.config:
        add_to_tables(arguments.config)
    from da_jax.storage.files import write_json

    data = load_visualization_data(arguments)
    parts = [part for part in PARTS if part in arguments.only]
    drawn = draw(data, parts, arguments.output, arguments.dpi)
    networks = [
        {
            "name": network.name,
            "folder": str(network.pretrained.folder),
            "test_top1": data.accuracy(network),
        }
        for network in data.networks
    ]
    content = {
        "dataset": arguments.dataset,
        "students": networks[:-1],
        "teacher": networks[-1],
        **drawn,
    }
    write_json(arguments.output / CONTENT, content)
    for picture in drawn["pictures"]:
        print(f"{arguments.output / picture['file']}: {picture['title']}")
    print(f"{arguments.output / CONTENT}: the data in them")
