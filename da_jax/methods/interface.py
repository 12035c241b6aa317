"""What every distillation method is."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax


class Outputs(NamedTuple):
    """What a network says of a batch: logits `[B, K]` and its features."""

    logits: jax.Array
    features: dict[str, Any]


class Method(Protocol):
    """A distillation method; its attributes are fixed when a step is compiled."""

    @property
    def uses_teacher(self) -> bool:
        """Whether `losses` looks at the teacher."""

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of what `losses` returns."""

    def losses(
        self,
        student: Outputs,
        teacher: Outputs | None,
        labels: jax.Array,
        weights: Mapping[str, jax.typing.ArrayLike],
    ) -> dict[str, jax.Array]:
        """The terms whose sum the student minimises.

        Args:
          student: in train mode.
          teacher: in eval mode; None for a method that doesn't use one.
          labels: int `[B]`.
          weights: the method's numbers, by the names its docstring lists.

        Returns:
          Term to scalar, the mean over this device's examples, weights included.
        """
