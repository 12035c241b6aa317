"""The student's update: the method's losses, their gradients and an optimizer step."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from da_jax.augmentations import Augmented
from da_jax.data import Examples
from da_jax.losses import Losses
from da_jax.methods import MethodInputs, ViewOutputs
from da_jax.models.forward import (
    Outputs,
    Variables,
    classifier,
    norms_before_relu,
    train_mode,
)
from da_jax.training.batch_metrics import train_metrics
from da_jax.training.dot import Gradients
from da_jax.training.state import METHOD, Hyperparameters, Metrics, Task, TrainState

CROSS_ENTROPY = "loss_ce"
"""The term that isn't distillation."""


def update_student(
    task: Task,
    teacher: Variables | None,
    examples: Examples,
    state: TrainState,
    augmented: Augmented,
    teacher_outputs: Sequence[Outputs | None],
    hyperparameters: Hyperparameters,
) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step on an augmented batch.

    Args:
      task: what is trained.
      teacher: the teacher's variables, or None.
      examples: the training set.
      state: the student before.
      augmented: its batch.
      teacher_outputs: for each view of the batch; None without a teacher.
      hyperparameters: the run's.

    Returns:
      The student after, and the batch's metrics, summed over the devices.
    """

    def loss(trainable: Any) -> tuple[Gradients, tuple[Any, Any, Losses, jax.Array]]:
        outputs, batch_stats = _student_forward(task, trainable["student"], augmented)
        epoch = state.step // jnp.asarray(hyperparameters.steps_per_epoch) + 1
        student = {"params": trainable["student"], "batch_stats": batch_stats}
        networks, of_networks = (student, teacher), (outputs, teacher_outputs)
        inputs = _method_inputs(
            task, networks, examples, augmented, of_networks, epoch
        )._replace(label_smoothing=_label_smoothing(task, hyperparameters))
        losses, auxiliary = task.method.apply(
            _with_params(state.auxiliary, trainable["method"]),
            inputs,
            hyperparameters.method,
            mutable=[name for name in state.auxiliary if name != "params"],
            rngs={"method": state.step_key(METHOD)},
        )
        return _terms(losses), (batch_stats, auxiliary, losses, outputs[0].logits)

    terms, pull_back, (batch_stats, auxiliary, losses, logits) = jax.vjp(
        loss, state.trainable, has_aux=True
    )
    gradients = _gradients(task, terms, pull_back)
    trainable, opt_state = _optimize(task, state, gradients, hyperparameters)
    metrics = train_metrics(task, losses, logits, teacher_outputs[0], augmented)
    state = state.replace(
        step=state.step + 1,
        params=trainable["student"],
        batch_stats=batch_stats,
        auxiliary=_with_params({**state.auxiliary, **auxiliary}, trainable["method"]),
        opt_state=opt_state,
        ascent_scale=task.augmentation.adapt(
            state.ascent_scale, metrics, hyperparameters.augmentation
        ),
    )
    return _averaged(state, hyperparameters.ema_decay), metrics


def _student_forward(
    task: Task, params: Any, augmented: Augmented
) -> tuple[list[Outputs], Any]:
    """Evaluates the student on each view of a batch, one after the other."""
    outputs, batch_stats = [], augmented.batch_stats
    for images in augmented.batch.views:
        of_view, batch_stats = train_mode(task.student, params, batch_stats, images)
        outputs.append(of_view)
    return outputs, batch_stats


def _method_inputs(
    task: Task,
    networks: tuple[Variables, Variables | None],
    examples: Examples,
    augmented: Augmented,
    outputs: tuple[Sequence[Outputs], Sequence[Outputs | None]],
    epoch: jax.Array,
) -> MethodInputs:
    """The method's inputs, of the student and the teacher and their outputs by view."""
    student, teacher = networks
    norms, teacher_classifier = [], None
    if task.teacher is not None and teacher is not None:
        teacher = jax.lax.stop_gradient(teacher)
        norms = norms_before_relu(task.teacher, teacher["params"])
        teacher_classifier = classifier(task.teacher, teacher)
    views = [ViewOutputs(*view) for view in zip(*outputs, strict=True)]
    return MethodInputs(
        student=views[0].student,
        teacher=views[0].teacher,
        labels=augmented.batch.labels,
        indices=augmented.batch.indices,
        train_labels=jnp.asarray(examples.labels),
        epoch=epoch.astype(task.dtype),
        teacher_norms=norms,
        strong=views[1] if task.method.strong_view else None,
        student_classifier=classifier(task.student, student),
        teacher_classifier=teacher_classifier,
    )


def _terms(losses: Losses) -> Gradients:
    """Splits a loss into the cross-entropy and the sum of the other terms."""
    others = [term for name, term in losses.items() if name != CROSS_ENTROPY]
    cross_entropy = losses.get(CROSS_ENTROPY, jnp.zeros(()))
    return Gradients(cross_entropy, sum(others, jnp.zeros(())))


def _gradients(task: Task, terms: Gradients, pull_back: Callable[..., Any]) -> Any:
    """The whole loss's gradients, or `Gradients` for an optimizer that takes both."""
    zero, one = (fill(terms.task) for fill in (jnp.zeros_like, jnp.ones_like))
    gradients: Any
    if task.optimizer.name == "dot":
        (of_task,) = pull_back(Gradients(one, zero))
        (of_distillation,) = pull_back(Gradients(zero, one))
        gradients = Gradients(of_task, of_distillation)
    else:
        (gradients,) = pull_back(Gradients(one, one))
    if task.axis_name is not None:
        gradients = jax.lax.pmean(gradients, task.axis_name)
    return gradients


def _label_smoothing(
    task: Task, hyperparameters: Hyperparameters
) -> jax.typing.ArrayLike | None:
    return hyperparameters.label_smoothing if task.smooth_labels else None


def _optimize(
    task: Task, state: TrainState, gradients: Any, hyperparameters: Hyperparameters
) -> tuple[Any, optax.OptState]:
    return task.optimizer.update(
        gradients,
        state.opt_state,
        state.trainable,
        state.step,
        hyperparameters.optimizer,
    )


def _averaged(state: TrainState, decay: jax.typing.ArrayLike) -> TrainState:
    """Moves the average of a student, if it has one, towards its variables."""
    if state.ema is None:
        return state
    step_size = jnp.subtract(1.0, decay)
    return state.replace(
        ema=optax.incremental_update(state.variables, state.ema, step_size)
    )


def _with_params(auxiliary: dict[str, Any], params: Any) -> dict[str, Any]:
    """A method's variables with these parameters, if it has any."""
    return {**auxiliary, "params": params} if "params" in auxiliary else auxiliary
