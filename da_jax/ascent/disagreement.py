"""Disagreement Augmentation: moves a batch to where student and teacher disagree.

References:
  y4umeng/disagreement_augmentation, the training loop of the paper's experiments and,
  for the Kullback-Leibler divergence, src/distillers/_augmented.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from da_jax.ascent.ascend import Ascended, Objective, ascend, flip, rebuilt, static
from da_jax.ascent.normalization import (
    NORMALIZATIONS,
    RELATIVE_EPSILON,
    normalize_by_example,
)
from da_jax.ascent.plateau import reduce_on_plateau as plateau
from da_jax.losses import ArrayLike, kl_divergence, standardize

PATIENCE = 10
"""Patience of PyTorch's plateau, which can change step 13 at the earliest."""


BOTH_SCALES = (
    "reference_batch scales the gradient that normalize makes independent of its scale;"
    " use one of them"
)


def normalized_mse(
    student_logits: Float[ArrayLike, "B K"], teacher_logits: Float[ArrayLike, "B K"]
) -> Float[Array, " B"]:
    """Computes the mean over classes of (S/‖S‖₁ − T/‖T‖₁)², norms at least 1e-12."""
    difference = _l1_normalized(student_logits) - _l1_normalized(teacher_logits)
    return jnp.mean(jnp.square(difference), axis=-1)


def _l1_normalized(logits: Float[ArrayLike, "B K"]) -> Float[Array, "B K"]:
    norm = jnp.sum(jnp.abs(logits), axis=-1, keepdims=True)
    return jnp.asarray(logits) / jnp.maximum(norm, 1e-12)


def teacher_student_kl(
    student_logits: Float[ArrayLike, "B K"], teacher_logits: Float[ArrayLike, "B K"]
) -> Float[Array, " B"]:
    """Computes KL(softmax T ‖ softmax S) at temperature 1."""
    return kl_divergence(student_logits, teacher_logits, temperature=1.0)


Divergence = Callable[[jax.Array, jax.Array], jax.Array]
"""Maps logits `[B, K]` of student and teacher to their disagreement `[B]`."""

DIVERGENCES: dict[str, Divergence] = {"mse": normalized_mse, "kl": teacher_student_kl}


def disagreement_augment(
    x: PyTree[Float[ArrayLike, "B ..."]],
    student: Callable[..., Any],
    teacher: Callable[[Any], Array],
    *,
    learning_rate: float | Float[Array, ""] = 0.01778,
    steps: int | Int[Array, ""] = 1,
    divergence: str = "mse",
    logit_standardization: bool = False,
    update_state: bool = True,
    reduce_on_plateau: bool = True,
    random_init: bool = False,
    reference_batch: int | None = None,
    normalize: str | None = None,
    student_state: Any = None,
    key: Array | None = None,
    probability: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Ascended:
    """Moves a batch to where student and teacher disagree most.

    With logits S of the student and T of the teacher, and both networks' weights fixed,
    each step is one of Adam, initialised for each batch:

      x ← x + α · Adam(∇ₓ D(S(x), T(x)))

    D is a mean over the batch, so its gradient shrinks with the batch size relative to
    Adam's ε of 1e-8, and a large batch moves less: the paper's α is for batches of 64.
    The result has no gradient, so a loss function that is differentiated by the
    student's weights may call this.

    Args:
      x: the normalised batch: an array or a pytree of arrays with a leading batch axis.
        It isn't clipped.
      student: maps x to logits `[B, K]`; with `student_state`, (x, state) to (logits,
        state). In train mode, in the original.
      teacher: maps x to logits `[B, K]`, in eval mode.
      learning_rate: α, in units of x.
      steps: the number of ascent steps e; an int or a traced integer. A single static
        step without a key traces no loop and no conditional.
      divergence: D. "mse" is the mean squared difference of L1-normalised logits;
        "kl" is KL(teacher ‖ student), as in the original's later code.
      logit_standardization: whether each row of logits gets mean 0 and standard
        deviation 1 before D.
      update_state: whether the student's state is updated by the forward passes of the
        ascent, as in the original; otherwise the given state is returned.
      reduce_on_plateau: whether α is multiplied by 0.1 when D has been 0.01 % below its
        last best for more than 10 steps in a row, PyTorch's rule for the loss −D.
      random_init: whether to start from uniform(-1, 1) noise instead of x; needs `key`.
      reference_batch: scales the gradient as for a batch of this size, so that α has
        the same effect for every batch size.
      normalize: "example" divides each example's gradient by its root mean square, and
        Adam's ε is 0.13. Steps then depend neither on the batch size nor on the scale
        of D; on CIFAR-100 at batch 64 their mean is the original's. Ours, not the
        paper's; excludes `reference_batch`.
      student_state: what the student changes, such as batch norm's running statistics.
      key: a random key for this batch; one coin decides for the whole batch. The same
        key gives the same coin in `fgsm`, `pgd` and `noise`.
      probability: the probability p of the ascent; below 1 it needs `key`.
      axis_name: the mapped axis (`pmap`, `shard_map`) that the batch is split over.
        The key must then be the same on every device.

    Returns:
      `Ascended`: x and the student's state (None without one), the mean disagreement
      before and after, and the coin. If the coin is tails, x and state are the given
      ones and the ascent is skipped (under `vmap` it is computed and discarded).

    Raises:
      ValueError: an argument is out of range, a key is missing, or logits don't fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import da_jax
      >>> x = jax.random.normal(jax.random.key(0), (64, 8))
      >>> student, teacher = jax.random.normal(jax.random.key(1), (2, 8, 10))
      >>> harder = da_jax.disagreement_augment(
      ...     x, lambda x: x @ student, lambda x: x @ teacher
      ... )
      >>> harder.x.shape, bool(harder.after > harder.before)
      ((64, 8), True)

    References:
      The paper's Algorithm 1; y4umeng/disagreement_augmentation.
    """
    _check(divergence, reference_batch, normalize, random_init, key)
    static_steps = static(steps)
    x = jax.tree.map(jnp.asarray, x)
    coin_key, noise_key = (None, None) if key is None else jax.random.split(key)
    coin = flip(coin_key, probability)
    use_noise = coin if random_init else None
    optimizer = ascent_optimizer(
        learning_rate,
        reduce_on_plateau=reduce_on_plateau
        and (static_steps is None or static_steps > PATIENCE),
        batch_size=_batch_size(x, axis_name),
        reference_batch=reference_batch,
        normalize=normalize,
    )
    objective = disagreement(
        student,
        teacher,
        divergence,
        logit_standardization,
        has_state=student_state is not None,
        update_state=update_state,
    )
    ascended = ascend(
        _or_noise(x, use_noise, noise_key, axis_name),
        objective,
        optimizer=optimizer,
        steps=steps if coin is None else jnp.where(coin, steps, 0),
        state=student_state,
        axis_name=axis_name,
    )
    return ascended._replace(applied=jnp.array(True) if coin is None else coin)


def _or_noise(
    x: Any, use_noise: Array | None, key: Array | None, axis_name: str | None
) -> Any:
    """Returns uniform(-1, 1) noise in place of x, if the coin `use_noise` says so."""
    if use_noise is None:
        return x
    return jax.tree.map(partial(jnp.where, use_noise), uniform(key, x, axis_name), x)


def _check(
    divergence: str,
    reference_batch: int | None,
    normalize: str | None,
    random_init: bool,
    key: Array | None,
) -> None:
    if divergence not in DIVERGENCES:
        known = ", ".join(DIVERGENCES)
        raise ValueError(f"unknown divergence {divergence!r}; known: {known}")
    if reference_batch is not None and reference_batch < 1:
        raise ValueError(f"reference_batch is {reference_batch}; it must be at least 1")
    if normalize is not None and normalize not in NORMALIZATIONS:
        known = ", ".join(NORMALIZATIONS)
        raise ValueError(f"unknown normalize {normalize!r}; known: {known}")
    if normalize is not None and reference_batch is not None:
        raise ValueError(BOTH_SCALES)
    if random_init and key is None:
        raise ValueError("random_init draws noise; give key=jax.random.key(...)")


def disagreement(
    student: Callable[..., Any],
    teacher: Callable[[Any], Array],
    divergence: str,
    logit_standardization: bool,
    *,
    has_state: bool,
    update_state: bool,
) -> Objective:
    """Creates an objective for `ascend`: the disagreement of each example.

    Args:
      student: see `disagreement_augment`.
      teacher: see `disagreement_augment`.
      divergence: see `disagreement_augment`.
      logit_standardization: see `disagreement_augment`.
      has_state: whether the student takes and returns a state.
      update_state: whether the objective returns the student's new state.
    """

    compare = divergence_of(divergence, logit_standardization=logit_standardization)

    def objective(x: Any, state: Any) -> tuple[Array, Any]:
        student_logits, new_state = evaluate(student, x, state, has_state)
        logits = student_logits, _alone("teacher", teacher(x))
        _check_logits(*logits)
        return compare(*logits), new_state if update_state else state

    return objective


def divergence_of(name: str, *, logit_standardization: bool = False) -> Divergence:
    """Returns the entry `name` of `DIVERGENCES`, optionally of standardised logits."""
    divergence = DIVERGENCES[name]
    if not logit_standardization:
        return divergence

    def standardized(student_logits: Array, teacher_logits: Array) -> Array:
        return divergence(standardize(student_logits), standardize(teacher_logits))

    return standardized


def ascent_optimizer(
    learning_rate: float | Array,
    *,
    reduce_on_plateau: bool,
    batch_size: int,
    reference_batch: int | None,
    normalize: str | None = None,
) -> optax.GradientTransformation:
    """Creates the optimizer of Disagreement Augmentation.

    Args:
      learning_rate: α, in units of x.
      reduce_on_plateau: see `disagreement_augment`.
      batch_size: over all devices.
      reference_batch: see `disagreement_augment`.
      normalize: see `disagreement_augment`.
    """
    optimizer = optax.adam(learning_rate)
    if normalize is not None:
        optimizer = optax.chain(
            normalize_by_example(), optax.adam(learning_rate, eps=RELATIVE_EPSILON)
        )
    if reduce_on_plateau:
        optimizer = optax.chain(optimizer, plateau(patience=PATIENCE))
    if reference_batch is not None:
        optimizer = optax.chain(optax.scale(batch_size / reference_batch), optimizer)
    return optimizer


def evaluate(
    network: Callable[..., Any], x: Any, state: Any, has_state: bool
) -> tuple[Array, Any]:
    """Returns a network's logits for x, and its new state.

    Raises:
      ValueError: a network with a state doesn't return both, or one without does.
    """
    if not has_state:
        return _alone("student", network(x)), state
    returned = network(x, rebuilt(state))
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ValueError(
            "with student_state the student must return (logits, state), but it"
            f" returned a {type(returned).__name__}"
        )
    return returned


def _alone(who: str, returned: Any) -> Array:
    if isinstance(returned, tuple):
        state = "; give its state as student_state" if who == "student" else ""
        raise ValueError(f"the {who} must return logits, not a tuple{state}")
    logits: Array = returned
    return logits


def _check_logits(student_logits: Any, teacher_logits: Any) -> None:
    shapes = jnp.shape(student_logits), jnp.shape(teacher_logits)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2:
        of_student, of_teacher = (list(shape) for shape in shapes)
        raise ValueError(
            f"the student's logits are {of_student} and the teacher's {of_teacher};"
            " both must be [B, K]"
        )


def _batch_size(x: Any, axis_name: str | None) -> int:
    """Returns the batch size over all devices."""
    size = int(jax.tree.leaves(x)[0].shape[0])
    return size if axis_name is None else size * jax.lax.axis_size(axis_name)


def uniform(key: Any, x: Any, axis_name: str | None) -> Any:
    """Samples uniform(-1, 1) noise in the shapes of x, independent of the devices."""
    leaves, structure = jax.tree.flatten(x)
    sampled = []
    for leaf_key, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True):
        keys = jax.random.split(leaf_key, _batch_size(leaf, axis_name))
        if axis_name is not None:
            first = jax.lax.axis_index(axis_name) * len(leaf)
            keys = jax.lax.dynamic_slice_in_dim(keys, first, len(leaf))
        shape, dtype = leaf.shape[1:], leaf.dtype

        def one(key: Any, shape: Any = shape, dtype: Any = dtype) -> Array:
            return jax.random.uniform(key, shape, dtype, -1.0, 1.0)

        sampled.append(jax.vmap(one)(keys))
    return jax.tree.unflatten(structure, sampled)
