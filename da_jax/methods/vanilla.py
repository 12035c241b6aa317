"""Plain supervised training, with no teacher: how teachers are made."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from da_jax.methods.interface import Outputs


@dataclasses.dataclass(frozen=True)
class Vanilla:
    """The cross-entropy against the labels. It has no weights."""

    uses_teacher: ClassVar[bool] = False
    terms: ClassVar[tuple[str, ...]] = ("loss_ce",)

    def losses(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: jax.Array,
        weights: Mapping[str, jax.typing.ArrayLike],
    ) -> dict[str, jax.Array]:
        """The mean cross-entropy; see `Method.losses`."""
        del teacher, weights
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(
            student.logits, labels
        )
        return {"loss_ce": jnp.mean(cross_entropy)}
