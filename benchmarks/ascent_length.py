r"""How far an ascent moves images, by batch size: the mean step over α.

python -m benchmarks.ascent_length --teacher checkpoints/resnet56 \
    --student checkpoints/resnet20

One step of Disagreement Augmentation on the first training images of a data set, the
student in train mode: with the original's Adam, whose ε of 1e-8 outweighs the gradients
of large batches, and with `normalize="example"`.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks import measure
from da_jax import disagreement_augment
from da_jax.analysis.pretrained import Pretrained, load_pretrained
from da_jax.data import load_dataset, locations
from da_jax.models.forward import train_mode

ALPHA = 0.01778


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ascent_length", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--teacher", type=Path, required=True, help="a model's folder")
    parser.add_argument("--student", type=Path, required=True, help="likewise")
    parser.add_argument("--dataset", default="cifar100")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=[64, 128, 512])
    return parser.parse_args()


def ascent_length(
    student: Pretrained, teacher: Pretrained
) -> Callable[[jax.Array, str | None], jax.Array]:
    """Returns a function of a batch and of `normalize`: the mean step over α."""
    params, batch_stats = (student.variables[of] for of in ("params", "batch_stats"))

    def student_logits(images: jax.Array) -> jax.Array:
        outputs, _ = train_mode(student.network, params, batch_stats, images)
        return outputs.logits

    @functools.partial(jax.jit, static_argnums=1)
    def length(images: jax.Array, normalize: str | None) -> jax.Array:
        moved = disagreement_augment(
            images,
            student_logits,
            lambda images: teacher(images).logits,
            learning_rate=ALPHA,
            normalize=normalize,
        )
        return jnp.mean(jnp.abs(moved.x - images)) / ALPHA

    return length


def main() -> None:
    arguments = parse_arguments()
    data = load_dataset(arguments.dataset, locations.data_dir(arguments.data_dir))
    student = load_pretrained(arguments.student)
    teacher = load_pretrained(arguments.teacher)
    images = data.preprocessing.normalize(
        jnp.asarray(data.train.images[: arguments.images]), jnp.float32
    )
    length = ascent_length(student, teacher)
    rows = []
    for batch_size in arguments.batch_sizes:
        starts = range(0, len(images) - batch_size + 1, batch_size)
        means = [
            statistics.fmean(
                float(length(images[start:][:batch_size], how)) for start in starts
            )
            for how in (None, "example")
        ]
        rows.append([batch_size, *(f"{mean:.3f}" for mean in means)])
    print(measure.table(("batch size", "original", "normalize=example"), rows))


if __name__ == "__main__":
    main()
