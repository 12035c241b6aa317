"""The interface of distillation methods: their inputs, losses and declarations."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from da_jax import losses
from da_jax.data.batch import device_share
from da_jax.declarations import NOT_NEGATIVE, Declaration
from da_jax.errors import UserError
from da_jax.losses import Losses
from da_jax.models.forward import Outputs
from da_jax.models.network import Classifier, Norm, Part

Weights = Mapping[str, jax.typing.ArrayLike]
"""A method's traced hyperparameters by name."""


class ViewOutputs(NamedTuple):
    """Both networks' outputs for one view of the examples.

    Attributes:
      student: in train mode.
      teacher: in eval mode, or None without a teacher.
    """

    student: Outputs
    teacher: Outputs | Any


class MethodInputs(NamedTuple):
    """The inputs of a method in a training step; B is this device's batch size.

    Attributes:
      student: the student's outputs in train mode.
      teacher: the teacher's outputs in eval mode (in train mode for
        `Method.teacher_train`), or None without a teacher.
      labels: int `[B]`.
      indices: the examples' indices in the training set, int `[B]`.
      train_labels: the labels of the training set, int `[N]`.
      epoch: counted from 1, a scalar.
      teacher_norms: see `da_jax.models.network.Network.norms_before_relu`.
      strong: the outputs for RandAugment's view of the same examples, for methods with
        `Method.strong_view`.
      label_smoothing: of the labels in the cross-entropy, a scalar; None for none.
      student_classifier: the parameters of the student's last layer; None for a module
        that isn't a `da_jax.models.Network`.
      teacher_classifier: the teacher's.
    """

    student: Outputs
    teacher: Outputs | Any  # Any admits None, without a check in every method
    labels: jax.Array
    indices: jax.Array
    train_labels: jax.Array
    epoch: jax.Array
    teacher_norms: list[Norm]
    strong: ViewOutputs | None = None
    label_smoothing: jax.typing.ArrayLike | None = None
    student_classifier: Classifier | None = None
    teacher_classifier: Classifier | None = None

    @property
    def logits(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The arguments of a loss of logits: both networks' logits, and the labels."""
        return self.student.logits, self.teacher.logits, self.labels

    @property
    def strong_logits(self) -> dict[str, jax.Array]:
        """The further arguments of a loss of two views."""
        assert self.strong is not None, "this method needs a strong view"
        return {
            "student_strong": self.strong.student.logits,
            "teacher_strong": self.strong.teacher.logits,
        }


def cross_entropy(logits: jax.Array, inputs: MethodInputs) -> jax.Array:
    """Computes the mean cross-entropy of logits `[B, K]` against the inputs' labels.

    With label smoothing ε the targets are 1 − ε of the label and ε spread evenly over
    all classes.
    """
    if inputs.label_smoothing is None:
        return losses.cross_entropy(logits, inputs.labels)
    one_hot = jax.nn.one_hot(inputs.labels, logits.shape[-1], dtype=logits.dtype)
    targets = optax.smooth_labels(one_hot, inputs.label_smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, targets))


class Method(Part, kw_only=True):
    """A distillation method: a Linen module that computes the terms of a loss.

    Subclasses implement `distillation`, or `__call__` if they don't want the
    cross-entropy. The collection `params` (connectors, embeddings) is trained with the
    student; other collections (running statistics, memory banks) are updated by the
    method. Checkpoints contain all of them, exported students none. Randomness comes
    from `make_rng("method")`, which is the same on every device.

    Attributes:
      axis_name: the pmapped axis of the batch, or None.
    """

    hyperparameters: ClassVar[Mapping[str, Declaration | None]] = {
        "ce_weight": Declaration(1.0, NOT_NEGATIVE, "weight of the cross-entropy"),
    }
    """Its traced scalars, see `da_jax.declarations.hyperparameters`."""
    features: ClassVar[tuple[str, ...]] = ()
    """The features that it needs of both networks, such as `("feats",)`."""
    classifiers: ClassVar[tuple[str, ...]] = ()
    """The networks whose classifier it needs: `"student"`, `"teacher"`."""
    reuses_classifier: ClassVar[bool] = False
    """Whether the student has the teacher's classifier, see
    `da_jax.models.reused_classifier`."""
    uses_teacher: ClassVar[bool] = True
    """Whether it needs a teacher."""
    teacher_train: ClassVar[bool] = False
    """Whether the teacher is in train mode, so normalised by the batch."""
    strong_view: ClassVar[bool] = False
    """Whether it also needs the outputs for RandAugment's view, never augmented."""

    def __call__(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes the terms of the student's loss, which is their sum.

        Raises:
          UserError: a network lacks features that the method needs.
        """
        self._check(inputs)
        return {
            "loss_ce": self.cross_entropy(inputs) * weights["ce_weight"],
            **self.distillation(inputs, weights),
        }

    def cross_entropy(self, inputs: MethodInputs) -> jax.Array:
        """Computes the student's mean cross-entropy, with smoothed labels if set."""
        return cross_entropy(inputs.student.logits, inputs)

    def distillation(self, inputs: MethodInputs, weights: Weights) -> Losses:
        """Computes the other terms; a term `loss_ce` replaces the base class's."""
        raise NotImplementedError

    def _check(self, inputs: MethodInputs) -> None:
        networks = {"student": inputs.student}
        if self.uses_teacher:
            assert inputs.teacher is not None, "this method needs a teacher"
            networks["teacher"] = inputs.teacher
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
        for role in self.classifiers:
            if getattr(inputs, f"{role}_classifier") is None:
                raise UserError(
                    f"method {type(self).__name__} needs the classifier of the {role},"
                    " which only a da_jax.models.Network has; make it one, or use"
                    " another method of logits such as KD, DKD or MLKD"
                )

    def global_batch(self, values: jax.Array) -> jax.Array:
        """Gathers `[B, …]` from all devices to `[devices × B, …]`.

        A loss that compares examples is then the global batch's on every device, and
        the mean of the devices' gradients is its gradient.
        """
        if self.axis_name is None:
            return values
        return jax.lax.all_gather(values, self.axis_name, tiled=True)

    def device_share(self, values: jax.Array) -> jax.Array:
        """Returns this device's part `[B, …]` of values `[devices × B, …]`."""
        return device_share(values, self.axis_name)
