"""Augmentations by gradient ascent: an objective, an optimizer and a projection."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from da_jax.ascent.ascend import Projection, take_steps
from da_jax.ascent.disagreement import normalized_mse
from da_jax.augmentations.interface import (
    Augmentation,
    Augmented,
    Context,
    Metric,
)
from da_jax.data.batch import Batch, example_keys
from da_jax.declarations import (
    NOT_NEGATIVE,
    PROBABILITY,
    Declaration,
)


class _Observed(NamedTuple):
    """What the passes of an ascent change.

    Attributes:
      batch_stats: the student's running statistics.
      disagreement: the mean before the first step, on this device.
      passes: how many there were.
    """

    batch_stats: Any
    disagreement: jax.Array
    passes: jax.Array


@dataclasses.dataclass(frozen=True)
class AscentAugmentation(Augmentation):
    """Moves a batch by gradient ascent, if a coin for the batch says so."""

    hyperparameters: ClassVar[Mapping[str, Declaration | None]] = {
        "probability": Declaration(0.7374, PROBABILITY, "p, of a coin for the batch"),
        "learning_rate": Declaration(
            0.01778, NOT_NEGATIVE, "α, in units of normalised pixels"
        ),
    }
    uses_teacher: ClassVar[bool] = True
    metric_names: ClassVar[tuple[str, ...]] = (
        "augmented",
        "ascent_scale",
        "disagreement_before",
        "disagreement_after",
        "step_over_alpha",
    )

    @property
    def keeps_batch_stats(self) -> bool:
        """Whether running statistics from the passes of the ascent are kept."""
        return True

    @property
    def starts_from_noise(self) -> bool:
        """Whether the ascent starts from uniform(-1, 1) noise."""
        return False

    def disagreement(
        self, student_logits: jax.Array, teacher_logits: jax.Array
    ) -> jax.Array:
        """Returns the disagreement of each example, from `[B, K]` to `[B]`."""
        return normalized_mse(student_logits, teacher_logits)

    def objective(
        self, student_logits: jax.Array, teacher_logits: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """Returns what is raised for each example, from `[B, K]` and `[B]` to `[B]`."""
        raise NotImplementedError

    def optimizer(
        self, learning_rate: jax.typing.ArrayLike, batch_size: int
    ) -> optax.GradientTransformation:
        """Returns the optimizer of a batch of this size, over all devices."""
        raise NotImplementedError

    def projection(
        self, hyperparameters: Mapping[str, jax.typing.ArrayLike]
    ) -> Projection | None:
        """Returns the projection after each step; None leaves the images."""
        del hyperparameters
        return None

    def finish(
        self, images: jax.Array, origin: jax.Array, noise: Callable[[], jax.Array]
    ) -> jax.Array:
        """Returns the images after the last step.

        Args:
          images: moved, `[B, H, W, C]`.
          origin: before the first step.
          noise: draws uniform(-1, 1) noise of their shape.
        """
        del origin, noise
        return images

    def __call__(self, batch: Batch, context: Context) -> Augmented:
        """Moves the images, if the coin says so."""
        hyperparameters, axis_name = context.hyperparameters, context.axis_name
        coin = jax.random.bernoulli(context.coin_key, hyperparameters["probability"])

        def noise() -> jax.Array:
            return _uniform(context.noise_key, batch.images, axis_name)

        origin = batch.images
        if self.starts_from_noise:
            origin = jnp.where(coin, noise(), origin)
        learning_rate = hyperparameters["learning_rate"] * context.scale
        steps = hyperparameters.get("steps", 1)
        devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
        zero = jnp.zeros((), origin.dtype)
        moved, observed, _ = take_steps(
            origin,
            self._observed_objective(batch, context),
            optimizer=self.optimizer(learning_rate, len(origin) * devices),
            steps=jnp.where(coin, steps, 0),
            project=self.projection(hyperparameters),
            state=_Observed(context.batch_stats, zero, jnp.zeros((), jnp.int32)),
            axis_name=axis_name,
        )
        images = self.finish(moved, origin, noise)
        before = observed.disagreement
        if axis_name is not None:
            before = jax.lax.pmean(before, axis_name)
        return Augmented(
            batch._replace(images=images),
            observed.batch_stats,
            {
                "coin": coin,
                "disagreement_before": before,
                "ascent_scale": context.scale,
                "step_over_alpha": _mean_distance(
                    images, origin, learning_rate * steps
                ),
            },
        )

    def _observed_objective(
        self, batch: Batch, context: Context
    ) -> Callable[[jax.Array, _Observed], tuple[jax.Array, _Observed]]:
        """Returns the objective of the batch, which also observes its passes."""

        def objective(
            images: jax.Array, observed: _Observed
        ) -> tuple[jax.Array, _Observed]:
            student_logits, moved = context.student(images, observed.batch_stats)
            logits = student_logits, context.teacher(images)
            disagreement = jnp.where(
                observed.passes == 0,
                jnp.mean(self.disagreement(*logits)),
                observed.disagreement,
            )
            kept = moved if self.keeps_batch_stats else observed.batch_stats
            values = self.objective(*logits, batch.labels)
            return values, _Observed(kept, disagreement, observed.passes + 1)

        return objective

    def metrics(
        self,
        measurements: Mapping[str, jax.Array],
        student_logits: jax.Array,
        teacher_logits: jax.Array | None,
    ) -> dict[str, Metric]:
        """Measures all but `augmented` on the augmented batches alone."""
        assert teacher_logits is not None, "an ascent has a teacher"
        after = self.disagreement(student_logits, teacher_logits)
        coin = jnp.broadcast_to(measurements["coin"], after.shape)

        def each(value: jax.Array) -> Metric:
            return Metric(jnp.full(after.shape, value), coin)

        return {
            "augmented": Metric(coin.astype(jnp.float32), jnp.ones_like(coin)),
            "ascent_scale": each(measurements["ascent_scale"]),
            "disagreement_before": each(measurements["disagreement_before"]),
            "disagreement_after": Metric(after, coin),
            "step_over_alpha": Metric(measurements["step_over_alpha"], coin),
        }


def _mean_distance(
    images: jax.Array, origin: jax.Array, unit: jax.typing.ArrayLike
) -> jax.Array:
    """Returns how far each example moved, the mean over its values, in a unit: `[B]`.

    0 for a unit of 0.
    """
    distances = jnp.mean(jnp.abs(images - origin), axis=tuple(range(1, images.ndim)))
    return distances / jnp.maximum(unit, jnp.finfo(distances.dtype).tiny)


def _uniform(key: jax.Array, images: jax.Array, axis_name: str | None) -> jax.Array:
    """Draws uniform(-1, 1) noise of the shape of this device's images."""

    def one(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, images.shape[1:], images.dtype, -1.0, 1.0)

    return jax.vmap(one)(example_keys(key, len(images), axis_name))
