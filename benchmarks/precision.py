"""Measures how each precision changes DA's augmented images on this device.

python -m benchmarks.precision

Images, weights and the original's float64 results are those of `tests/golden`:
resnet32x4 → resnet8x4, batch 8, the augmentation of the first training step.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from da_jax.configs import default

from benchmarks import measure
from da_jax.config.build import create_hyperparameters, create_task
from da_jax.data import Dataset, Examples
from da_jax.data.batch import Batch
from da_jax.data.cifar100 import PREPROCESSING
from da_jax.models.network import PRECISIONS
from da_jax.training import step
from da_jax.training.compilation import configure_compiler
from da_jax.training.state import create_train_state
from tests import golden
from tests.parity import variables

TRAJECTORIES = {1: "da_1step", 3: "da_3steps"}
"""Names of the golden vectors by number of ascent steps."""

BATCH_SIZE = 8


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def augmented_images(
    precision: str, ascent_steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Augments the golden images with the golden weights.

    Args:
      precision: a key of PRECISIONS.
      ascent_steps: a key of TRAJECTORIES.

    Returns:
      Images `[8, 32, 32, 3]` before and after the augmentation, and the original's
      after it.
    """
    description, arrays = golden.load("training")
    kind = TRAJECTORIES[ascent_steps]
    start = description[kind]["start"]
    batch = slice(start, start + BATCH_SIZE)
    examples = Examples(arrays["images"][batch], arrays["labels"][batch])
    config = default.create("resnet8x4", ["resnet32x4"], "")
    config.precision = precision
    config.parallel = "seeds"  # no axis
    config.disagreement.steps = ascent_steps
    config.disagreement.probability = 1.0
    dataset = Dataset(examples, lambda: examples, 100, PREPROCESSING)
    task = create_task(config, dataset)
    student = variables("resnet8x4", 1, jnp.float32)
    images = PREPROCESSING.normalize(jnp.asarray(examples.images), jnp.float32)
    state = create_train_state(task, 0).replace(**student)
    augmented = jax.jit(step.augment, static_argnums=0)(
        task,
        variables("resnet32x4", 2, jnp.float32),
        state,
        Batch(images, jnp.asarray(examples.labels), jnp.arange(BATCH_SIZE)),
        create_hyperparameters(config, steps_per_epoch=1),
    )
    reference = arrays[f"{kind}/step0/student_input{ascent_steps}"]
    return np.asarray(images), np.asarray(augmented.batch.images), reference


def main() -> None:
    arguments = parse_arguments()
    configure_compiler()
    rows = []
    for ascent_steps in TRAJECTORIES:
        for precision in PRECISIONS:
            images, augmented, reference = augmented_images(precision, ascent_steps)
            error = np.abs(augmented - reference)
            movement = np.abs(reference - images)
            turned = np.sign(augmented - images) != np.sign(reference - images)
            rows.append(
                (
                    ascent_steps,
                    precision,
                    float(error.max()),
                    float(error.mean() / movement.mean()),
                    f"{np.mean(error < 1e-3):.2%}",
                    f"{np.mean(turned):.2%}",
                )
            )
    header = (
        "ascent steps",
        "precision",
        "largest error",
        "mean error over mean movement",
        "within 1e-3",
        "moved the other way",
    )
    measure.report(header, rows, arguments.json)


if __name__ == "__main__":
    main()
