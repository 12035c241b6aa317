"""Measures the accuracy of students and their teacher on harder test images.

python -m da_jax.robustness --student runs/kd --student runs/da --teacher checkpoints/T

disagreement: the images are moved by Disagreement Augmentation, step by step
attacks: white-box FGSM, PGD and APGD-CE in L∞
corruptions: Gaussian noise and Gaussian blur at CIFAR-C's five severities
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from da_jax.analysis.robustness import figure
from da_jax.analysis.robustness.report import TABLES, Results, describe_settings
from da_jax.analysis.robustness.settings import Settings
from da_jax.commands.command_line import (
    add_to_tables,
    exit_on_error,
    find_dataset,
    start_jax,
)
from da_jax.commands.robustness_arguments import (
    OUTPUT,
    NamedFolder,
    check_networks,
    check_output,
    choose_parts,
    parse_arguments,
)
from da_jax.config.prerequisites import missing_matplotlib
from da_jax.data import locations
from da_jax.errors import UserError
from da_jax.storage.files import write_json

if TYPE_CHECKING:
    from da_jax.analysis.pretrained import Pretrained
    from da_jax.analysis.robustness.measurements import Comparison, NamedNetwork


def load_comparison(arguments: argparse.Namespace) -> "Comparison":
    """Loads the networks and the test set.

    Raises:
      UserError: something is damaged, or a network has another number of classes.
    """
    from da_jax.analysis.pretrained import load_pretrained
    from da_jax.analysis.robustness.measurements import Comparison, NamedNetwork
    from da_jax.data import load_dataset

    # The modules that their folders name may add the data set.
    teacher = load_pretrained(arguments.teacher.folder)
    students = [
        load_pretrained(student.folder, last=arguments.last)
        for student in arguments.student
    ]
    data = load_dataset(arguments.dataset, locations.data_dir(arguments.data_dir))
    size = len(data.test.labels)
    if (arguments.num_images or 0) > size:
        raise UserError(
            f"--num_images is {arguments.num_images}, but {arguments.dataset} has only"
            f" {size} test images"
        )

    def named(source: NamedFolder, network: "Pretrained") -> NamedNetwork:
        network.check_fits(arguments.dataset, data.num_classes)
        return NamedNetwork(source.name, network, data.preprocessing)

    count = arguments.num_images or size
    return Comparison(
        students=list(map(named, arguments.student, students)),
        teacher=named(arguments.teacher, teacher),
        examples=type(data.test)(*(array[:count] for array in data.test)),
        settings=Settings(
            steps=arguments.steps,
            learning_rate=arguments.learning_rate,
            batch_size=arguments.batch_size,
            budgets=arguments.budgets,
            iterations=arguments.iterations,
            seed=arguments.seed,
        ),
    )


def describe(comparison: "Comparison", dataset: str) -> Results:
    """Returns the content of `robustness.json` before the measurements."""
    from da_jax.training.processes import device_description
    from da_jax.training.results import versions

    def network(named: "NamedNetwork") -> dict[str, Any]:
        pretrained = named.pretrained
        return {
            "name": named.name,
            "model": pretrained.model,
            "folder": str(pretrained.folder),
        }

    return {
        "dataset": dataset,
        "num_images": len(comparison.examples.labels),
        "students": [network(student) for student in comparison.students],
        "teacher": network(comparison.teacher),
        "settings": describe_settings(comparison.settings),
        "versions": versions(),
        "device": device_description(),
    }


def measure(
    comparison: "Comparison", parts: Sequence[str], results: Results, output: Path
) -> None:
    """Measures the parts, and writes `results` after each."""
    from da_jax.analysis.robustness.measurements import (
        MEASUREMENTS,
        count_progress,
        measure_clean,
    )

    total = sum(count_progress(part, comparison) for part in ("clean", *parts))
    with tqdm(total=total, unit="img", unit_scale=True, disable=None) as bar:
        comparison.on_progress = bar.update
        bar.set_description("clean")
        results["clean"] = measure_clean(comparison)
        for part in parts:
            bar.set_description(part)
            results[part] = MEASUREMENTS[part](comparison)
            write_json(output / "robustness.json", results)
            tqdm.write(TABLES[part](results))


def draw(results: Results, output: Path) -> None:
    """Draws the figure, and adds its description to `robustness.json`."""
    file = "robustness.png"
    figure.save(results, output / file)
    title = "Accuracy on harder test images"
    results["pictures"] = [
        {"file": file, "title": title, "alt": figure.alt_text(results)}
    ]
    write_json(output / "robustness.json", results)


@exit_on_error()
def main() -> None:
    """Checks the arguments before it loads anything, measures and draws."""
    arguments = parse_arguments(__doc__)
    parts = choose_parts(arguments.only)
    check_networks(arguments.student, arguments.teacher)
    output = arguments.output or arguments.student[0].folder / OUTPUT
    check_output(output)
    networks = (arguments.teacher, *arguments.student)
    folders = [network.folder for network in networks]
    arguments.dataset = find_dataset(arguments, folders)
    if not arguments.no_figure and (missing := missing_matplotlib()):
        raise UserError(f"{missing}, or leave out the figure with --no_figure")
    start_jax()
    if arguments.config:
        add_to_tables(arguments.config)
    comparison = load_comparison(arguments)
    results = describe(comparison, arguments.dataset)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output {output} can't be written: {error.strerror}"
        ) from error
    measure(comparison, parts, results, output)
    if not arguments.no_figure:
        draw(results, output)
    print(f"the results on {results['num_images']:,} test images are in {output}")
