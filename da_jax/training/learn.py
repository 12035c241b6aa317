"""The student's learning from a batch: the method's losses, gradients and an update."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from da_jax.augmentations import disagreement
from da_jax.data import Examples
from da_jax.methods import Losses, MethodInputs, Outputs, ViewOutputs
from da_jax.models.forward import train_mode
from da_jax.training import optim
from da_jax.training.batch_metrics import train_metrics
from da_jax.training.draw import Drawn, step_key
from da_jax.training.state import (
    METHOD,
    Hyperparameters,
    Metrics,
    Problem,
    TrainState,
    Variables,
)

TASK = "loss_ce"
"""The term that isn't distillation."""


def learn(
    problem: Problem,
    state: TrainState,
    taught: Sequence[Outputs | None],
    teacher: Variables | None,
    examples: Examples,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> tuple[TrainState, Metrics]:
    """The student learns from a batch that has been moved, or not.

    Args:
      problem: what is trained.
      state: the student before.
      taught: the teacher's outputs for each view of the batch, None without a teacher.
      teacher: the teacher's variables, or None.
      examples: the whole training set.
      drawn: the batch, its ascent where it has come to.
      hyperparameters: the run's numbers.

    Returns:
      The student after, and this batch's metrics, summed over the devices.
    """

    def loss(
        learned: Any,
    ) -> tuple[optim.Gradients, tuple[Any, Any, Losses, jax.Array]]:
        outputs, batch_stats = _student_views(problem, learned["student"], drawn)
        batch = _method_batch(
            problem, state, outputs, taught, teacher, examples, drawn, hyperparameters
        )
        losses, auxiliary = problem.method.apply(
            _with_params(state.auxiliary, learned["method"]),
            batch,
            hyperparameters.method,
            mutable=[name for name in state.auxiliary if name != "params"],
            rngs={"method": step_key(state, METHOD)},
        )
        others = [value for name, value in losses.items() if name != TASK]
        terms = optim.Gradients(
            losses.get(TASK, jnp.zeros(())), sum(others, jnp.zeros(()))
        )
        return terms, (batch_stats, auxiliary, losses, outputs[0].logits)

    terms, pull_back, (batch_stats, auxiliary, losses, logits) = jax.vjp(
        loss, state.learned, has_aux=True
    )
    gradients = _gradients(problem, terms, pull_back)
    learned, opt_state = _optimize(problem, state, gradients, hyperparameters)
    metrics = train_metrics(problem, state, losses, logits, taught[0], drawn)
    ascent_scale = state.ascent_scale
    if problem.augmentation is not None:
        ascent_scale = disagreement.adapt(
            ascent_scale,
            metrics["disagreement_before"].compute(),
            metrics["disagreement_after"].compute(),
            hyperparameters.ascent_target,
        )
    state = state.replace(
        step=state.step + 1,
        params=learned["student"],
        batch_stats=batch_stats,
        auxiliary=_with_params({**state.auxiliary, **auxiliary}, learned["method"]),
        opt_state=opt_state,
        ascent_scale=ascent_scale,
    )
    return state, metrics


def _student_views(
    problem: Problem, params: Any, drawn: Drawn
) -> tuple[list[Outputs], Any]:
    """The student's outputs for each view of a batch, one after the other."""
    outputs, batch_stats = [], drawn.ascent.batch_stats
    for images in drawn.views:
        of_view, batch_stats = train_mode(problem.student, params, batch_stats, images)
        outputs.append(of_view)
    return outputs, batch_stats


def _method_batch(
    problem: Problem,
    state: TrainState,
    outputs: Sequence[Outputs],
    taught: Sequence[Outputs | None],
    teacher: Variables | None,
    examples: Examples,
    drawn: Drawn,
    hyperparameters: Hyperparameters,
) -> MethodInputs:
    norms = []
    if problem.teacher is not None and teacher is not None:
        params = jax.lax.stop_gradient(teacher["params"])
        norms = problem.teacher.norms_before_relu(params)
    epoch = state.step // jnp.asarray(hyperparameters.steps_per_epoch) + 1
    views = [ViewOutputs(*view) for view in zip(outputs, taught, strict=True)]
    return MethodInputs(
        student=views[0].student,
        teacher=views[0].teacher,
        labels=drawn.labels,
        indices=drawn.indices,
        train_labels=jnp.asarray(examples.labels),
        epoch=epoch.astype(problem.dtype),
        teacher_norms=norms,
        strong=views[1] if problem.method.strong_view else None,
    )


def _gradients(
    problem: Problem, terms: optim.Gradients, pull_back: Callable[..., Any]
) -> Any:
    """Of the whole loss, or of its two parts where the optimiser tells them apart."""
    none, all_of_it = (fill(terms.task) for fill in (jnp.zeros_like, jnp.ones_like))
    gradients: Any
    if problem.optimizer == "dot":
        (of_task,) = pull_back(optim.Gradients(all_of_it, none))
        (of_distillation,) = pull_back(optim.Gradients(none, all_of_it))
        gradients = optim.Gradients(of_task, of_distillation)
    else:
        (gradients,) = pull_back(optim.Gradients(all_of_it, all_of_it))
    if problem.axis_name is not None:
        gradients = jax.lax.pmean(gradients, problem.axis_name)
    return gradients


def _optimize(
    problem: Problem,
    state: TrainState,
    gradients: Any,
    hyperparameters: Hyperparameters,
) -> tuple[Any, optax.OptState]:
    """What is learned after an update, and the optimiser's state."""
    learning_rate = optim.step_decay(
        state.step,
        hyperparameters.learning_rate,
        hyperparameters.decay_rate,
        hyperparameters.decay_steps,
    )
    optimizer = problem.create_optimizer(
        optim.Numbers(
            learning_rate,
            hyperparameters.momentum,
            hyperparameters.weight_decay,
            hyperparameters.dot_delta,
        )
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.learned)
    return optax.apply_updates(state.learned, updates), opt_state


def _with_params(auxiliary: dict[str, Any], params: Any) -> dict[str, Any]:
    """A method's variables with these parameters, if it has any."""
    return {**auxiliary, "params": params} if "params" in auxiliary else auxiliary
