"""Pictures of one or two students beside their teacher, on a test set.

python -m da_jax.visualize --student runs/resnet56_resnet20_da \\
    --teacher checkpoints/resnet56 --output pictures

- gallery: test images on their way to where the two disagree, and what both say of them
- tsne: the features of some classes, by t-SNE
- correlation: which classes look alike to the student and not to the teacher
- per_class: the accuracy on each class, against the teacher or another student

Each is a PNG or several; visualize.json has the numbers in them and a text for those
who can't see them.
"""

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from da_jax.commands.command_line import (
    Parser,
    add_data_options,
    add_to_tables,
    exit_on_error,
)
from da_jax.config.prerequisites import missing_matplotlib
from da_jax.data import locations
from da_jax.errors import UserError, unknown_name

if TYPE_CHECKING:
    from da_jax.analysis.pictures.study import Study

PARTS = ("gallery", "tsne", "correlation", "per_class")
NUMBERS = "visualize.json"
NUM_CLASSES = 10


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m da_jax.visualize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_networks(parser)
    parser.add_argument(
        "--output", type=Path, required=True, help="the folder of the pictures"
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
        "--seed", type=int, default=0, help="of what is drawn by chance (default: 0)"
    )
    _add_gallery(parser.add_argument_group("gallery"))
    _add_tsne(parser.add_argument_group("tsne"))
    return parser.parse_args()


def _add_networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--student",
        type=Path,
        action="append",
        required=True,
        help="the folder of a run or a model; twice, to compare two, such as KD and DA",
    )
    parser.add_argument(
        "--teacher", type=Path, required=True, help="the folder of a model or a run"
    )
    parser.add_argument(
        "--last", action="store_true", help="of runs: the last student, not the best"
    )
    add_data_options(parser)


def _add_gallery(group: Any) -> None:
    images = group.add_mutually_exclusive_group()
    images.add_argument(
        "--images", type=_integers, metavar="INDEX,…", help="where in the test set"
    )
    images.add_argument(
        "--num_images", type=int, default=4, help="or how many by chance (default: 4)"
    )
    group.add_argument(
        "--steps",
        type=_integers,
        default=[0, 1, 5, 10, 50],
        metavar="STEP,…",
        help="of the ascent, from 0, the image itself (default: 0,1,5,10,50)",
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
        help="or how many by chance; more than 20 are hard to tell apart"
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
            f"{value!r} is no list of whole numbers such as 0,1,5"
        ) from None


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuses what can't be meant, before anything slow starts.

    Raises:
      UserError: says which argument, and what it may be.
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
    for message, is_fine in checks.items():
        if not is_fine:
            raise UserError(message)
    for folder in (*students, arguments.teacher):
        if not folder.is_dir():
            raise UserError(f"{folder} is neither a converted model nor a run")
    data_dir = locations.data_dir(arguments.data_dir)
    for missing in (
        locations.missing_dataset(arguments.dataset, data_dir),
        missing_matplotlib(),
    ):
        if missing:
            raise UserError(missing)


def choose_images(arguments: argparse.Namespace, num_examples: int) -> list[int]:
    """Where the gallery's images are, as named or by chance.

    Raises:
      UserError: there is no such image, or there are not so many.
    """
    from da_jax.analysis import gallery

    if arguments.images is None:
        if arguments.num_images > num_examples:
            raise UserError(
                f"--num_images is {arguments.num_images}, but {arguments.dataset} has"
                f" {num_examples} test images"
            )
        return gallery.choose_images(arguments.num_images, num_examples, arguments.seed)
    for index in arguments.images:
        if not 0 <= index < num_examples:
            raise UserError(
                f"--images has {index}, but the test images of {arguments.dataset} are"
                f" 0 to {num_examples - 1}"
            )
    return arguments.images


def choose_classes(arguments: argparse.Namespace, names: Sequence[str]) -> list[int]:
    """The t-SNE's classes, as named or by chance, in the order of the labels.

    Raises:
      UserError: there is no such class, or there are not so many.
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


def create_study(arguments: argparse.Namespace) -> "Study":
    """Loads the data and the networks.

    Raises:
      UserError: one of them is missing or damaged, or they don't fit each other.
    """
    from da_jax.analysis.pictures.study import Options, Study
    from da_jax.analysis.pretrained import load_pretrained
    from da_jax.data import load_dataset

    data_dir = locations.data_dir(arguments.data_dir)
    dataset = load_dataset(arguments.dataset, data_dir)
    options = Options(
        images=choose_images(arguments, len(dataset.test.labels)),
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        classes=choose_classes(arguments, dataset.class_names),
        images_per_class=arguments.images_per_class,
        seed=arguments.seed,
    )
    folders = (arguments.teacher, *arguments.student)
    networks = [load_pretrained(folder, last=arguments.last) for folder in folders]
    for network in networks:
        network.check_fits(arguments.dataset, dataset.num_classes)
    return Study(networks[0], networks[1:], dataset, options)


def draw(study: "Study", parts: list[str], output: Path, dpi: int) -> dict[str, Any]:
    """Draws all, then writes all.

    Args:
      study: what is drawn.
      parts: which of `PARTS`.
      output: the folder, made if it isn't there.
      dpi: dots an inch; of multiples of 30 each pixel of an image is a square of dots.

    Returns:
      What `visualize.json` holds of the pictures.
    """
    from da_jax.analysis.pictures.parts import PARTS as DRAWN

    drawn = {part: DRAWN[part](study) for part in parts}
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
    numbers = {part: of_part.numbers for part, of_part in drawn.items()}
    return {"pictures": described, **numbers}


@exit_on_error()
def main() -> None:
    arguments = parse_arguments()
    check_arguments(arguments)
    if arguments.config:
        add_to_tables(arguments.config)
    from da_jax.storage.files import write_json
    from da_jax.training.compilation import configure_compiler

    configure_compiler()
    study = create_study(arguments)
    parts = [part for part in PARTS if part in arguments.only]
    drawn = draw(study, parts, arguments.output, arguments.dpi)
    networks = [
        {
            "name": subject.name,
            "folder": str(subject.network.folder),
            "test_top1": study.accuracy(subject),
        }
        for subject in study.subjects
    ]
    content = {
        "dataset": arguments.dataset,
        "students": networks[:-1],
        "teacher": networks[-1],
        **drawn,
    }
    write_json(arguments.output / NUMBERS, content)
    for picture in drawn["pictures"]:
        print(f"{arguments.output / picture['file']}: {picture['title']}")
    print(f"{arguments.output / NUMBERS}: the numbers in them")
