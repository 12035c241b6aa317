"""What every distillation method is, and what it sees of a batch."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax

from da_jax import losses
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.errors import UserError
from da_jax.losses import Losses
from da_jax.models.forward import Outputs
from da_jax.models.network import Norm, Part

Weights = Mapping[str, jax.typing.ArrayLike]
"""A method's numbers, by the names its docstring lists."""


class View(NamedTuple):
    """What two networks say of the same images."""

    student: Outputs
    teacher: Outputs | None


class Batch(NamedTuple):
    """What a method sees of a training step; B is this device's share of the batch.

    Attributes:
      student: its outputs in train mode.
      teacher: its outputs in eval mode (but see `Method.teacher_train`), or None where
        there is no teacher.
      labels: int `[B]`.
      indices: int `[B]`, where in the training set the examples are.
      train_labels: int `[N]`, of the whole training set.
      epoch: from 1, a scalar.
      teacher_norms: see `da_jax.models.network.Network.norms_before_relu`.
      strong: both networks' outputs for another view of the same examples, for a method
        that asks for it (`Method.strong_view`).
    """

    student: Outputs
    teacher: Outputs | None
    labels: jax.Array
    indices: jax.Array
    train_labels: jax.Array
    epoch: jax.Array
    teacher_norms: list[Norm]
    strong: View | None = None


class Method(Part, kw_only=True):
    """A distillation method: a Linen module whose outputs are its losses.

    What it learns beside the student (connectors, embeddings) are its parameters,
    trained as the student's are; what it only remembers (running statistics, memory
    banks) are its other collections. Both are checkpointed and stay out of the student
    that is exported. Randomness comes from `make_rng("method")`, the same on every
    device.

    Attributes:
      axis_name: the pmapped axis the batch is split over, or None.
    """

    hyperparameters: ClassVar[Mapping[str, Declaration | None]] = {
        "ce_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the cross-entropy"),
    }
    """Its traced scalars, beside those of its base classes."""
    features: ClassVar[tuple[str, ...]] = ()
    """The features it needs of both networks, such as `("feats",)`."""
    uses_teacher: ClassVar[bool] = True
    """Whether it looks at the teacher."""
    teacher_train: ClassVar[bool] = False
    """Whether it looks at the teacher in train mode, normalised by the batch."""
    strong_view: ClassVar[bool] = False
    """Whether it learns from RandAugment's view too; no augmentation moves that."""

    def __call__(self, batch: Batch, weights: Weights) -> Losses:
        """Computes the terms of the student's loss, which is their sum.

        Raises:
          UserError: a network returns too few features.
        """
        self._check(batch)
        cross_entropy = losses.cross_entropy(batch.student.logits, batch.labels)
        return {
            "loss_ce": cross_entropy * weights["ce_weight"],
            **self.distillation(batch, weights),
        }

    def distillation(self, batch: Batch, weights: Weights) -> Losses:
        """Computes the terms beside `loss_ce`; one of this name replaces it."""
        raise NotImplementedError

    def _check(self, batch: Batch) -> None:
        networks = {"student": batch.student}
        if self.uses_teacher:
            assert batch.teacher is not None, "this method needs a teacher"
            networks["teacher"] = batch.teacher
        for role, outputs in networks.items():
            missing = [name for name in self.features if name not in outputs.features]
            if missing:
                raise UserError(
                    f"method {type(self).__name__} needs the features"
                    f" {', '.join(missing)} of the {role}, which returns only"
                    f" {', '.join(['logits', *outputs.features])}; return (logits,"
                    " features), see da_jax.models.Stages, or use a method of logits"
                    " such as KD, DKD or MLKD"
                )

    def global_batch(self, values: jax.Array) -> jax.Array:
        """`[B, …]` of this device as `[devices × B, …]` of all, for what compares them.

        Every device then has the whole batch's loss, and its gradient is the mean over
        the devices, as of any other loss.
        """
        if self.axis_name is None:
            return values
        return jax.lax.all_gather(values, self.axis_name, tiled=True)

    def share(self, values: jax.Array) -> jax.Array:
        """This device's part of something drawn for the whole batch, `[B, …]`."""
        return device_share(values, self.axis_name)


def device_share(values: jax.Array, axis_name: str | None) -> jax.Array:
    """A device's part of what is drawn for the whole batch, `[devices × B, …]`."""
    if axis_name is None:
        return values
    size = values.shape[0] // jax.lax.axis_size(axis_name)
    start = jax.lax.axis_index(axis_name) * size
    return jax.lax.dynamic_slice_in_dim(values, start, size)


def taught(batch: Batch) -> Outputs:
    """The teacher's outputs, of a method that can't do without."""
    assert batch.teacher is not None, "this method needs a teacher"
    return batch.teacher
