"""Gradient ascent of a batch: any objective, any optax optimizer, any projection."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from da_jax.losses import ArrayLike

State = TypeVar("State")

Objective = Callable[[Any, Any], tuple[Array, Any]]
"""Maps (x, state) to (a value per example `[B]`, the new state)."""

Projection = Callable[[Any, Any], Any]
"""Maps (x after a step, x before the first step) to the projected x."""


class Ascended(NamedTuple):
    """The result of an ascent.

    Attributes:
      x: the moved batch, in the structure and dtypes of the given one.
      state: the state after the last step, in the dtypes of the given one.
      before: the mean objective at the first x, a scalar.
      after: the mean objective at the last x, a scalar. It takes one more evaluation of
        the objective, which `jax.jit` removes if `after` isn't used.
      applied: a bool scalar: the coin, if there is one, else whether there was a step.
    """

    x: Any
    state: Any
    before: Array
    after: Array
    applied: Array


def ascend(
    x: PyTree[Float[ArrayLike, "B ..."]],
    objective: Objective,
    *,
    optimizer: optax.GradientTransformation,
    steps: int | Int[Array, ""],
    project: Projection | None = None,
    state: Any = None,
    axis_name: str | None = None,
) -> Ascended:
    """Increases the mean of an objective by gradient ascent of a batch.

    Each step is x ← project(x + u, x₀), where u is the optimizer's update for the
    gradient of −mean(objective(x)) and x₀ is the given batch. The result has no
    gradient, neither by x nor by what the objective closes over.

    Args:
      x: a floating-point array, or a pytree of them, with a leading batch axis: images
        `[B, H, W, C]`, vectors `[B, D]`, embeddings. Half precision is updated in
        float32 and rounded at the end; the objective gets x in its own dtype.
      objective: maps (x, state) to (values `[B]`, state). It is traced; `state` holds
        what it changes, such as running statistics.
      optimizer: any optax transformation, initialised for this batch. Its updates are
        the gradient of −mean, its `params` x; extra arguments are `value=`, −mean, and
        `values=`, −values `[B]`.
      steps: at least 0; an int or a traced integer. A single static step traces no
        loop.
      project: maps (x, x₀) to x after each step, or None.
      state: of the objective, any pytree.
      axis_name: the mapped axis (`pmap`, `shard_map`) that the batch is split over. The
        mean is then over all devices. Otherwise it is the mean over x, which is global
        for a sharded x under `jax.jit`. Several steps inside `shard_map` without it
        need `check_vma=False`.

    Returns:
      The moved batch and its state, see `Ascended`.

    Raises:
      ValueError: x isn't a batch of floating-point arrays, `steps` is negative, or the
        objective doesn't return values `[B]` and a state like the given one.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> import da_jax
      >>> def distance(x, state):  # from the origin
      ...     return jnp.sum(x**2, axis=-1), state
      >>> x = jnp.array([[3.0, 4.0], [0.6, 0.8]])
      >>> up = da_jax.ascend(x, distance, optimizer=optax.sgd(1.0), steps=2)
      >>> print(up.x.tolist(), float(up.before), float(up.after))
      [[12.0, 16.0], [2.4..., 3.2...]] 13.0 208.0...
    """
    x = jax.tree.map(jnp.asarray, x)
    batch_size = _check_batch(x)
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, x)
    static_steps = static(steps)
    state = jax.tree.map(jnp.asarray, state)

    def checked(x: Any, state: Any) -> tuple[Array, Any]:
        values, new_state = _both(objective(_as(x, dtypes), rebuilt(state)))
        _check_values(values, batch_size)
        return values, _like(new_state, state)

    def value_at(x: Any, state: Any) -> Array:
        return _global_mean(checked(x, state)[0], axis_name).astype(dtype)

    def run(x: Any, state: Any, count: Array) -> tuple[Any, Any, Array, Array]:
        moved, moved_state, first = take_steps(
            x,
            checked,
            optimizer=optimizer,
            steps=static_steps if static_steps in (0, 1) else count,
            project=project,
            state=state,
            axis_name=axis_name,
        )
        after = value_at(moved, moved_state)
        if static_steps == 0:
            return moved, moved_state, after, after
        before = first
        if static_steps is None:
            before = jax.lax.cond(count > 0, lambda: first, lambda: value_at(x, state))
        return moved, moved_state, before, after

    x, state = jax.lax.stop_gradient((_in_full_precision(x), state))
    dtype = jnp.result_type(*jax.tree.leaves(x))
    count = jnp.asarray(steps, jnp.int32)
    # A caller may differentiate by what `run` closes over, but loops have no gradient.
    convert, closed_over = jax.closure_convert(run, x, state, count)
    results = convert(x, state, count, *jax.lax.stop_gradient(closed_over))
    x, state, before, after = jax.lax.stop_gradient(results)
    return Ascended(_as(x, dtypes), state, before, after, count > 0)


def take_steps(
    x: Any,
    objective: Objective,
    *,
    optimizer: optax.GradientTransformation,
    steps: int | Array,
    project: Projection | None = None,
    state: Any = None,
    axis_name: str | None = None,
) -> tuple[Any, Any, Array]:
    """Takes the steps of `ascend`, without its checks and extra evaluations.

    Args:
      x: arrays of at least float32, with a leading batch axis.
      objective: maps (x, state) to (values `[B]`, a state of the same dtypes).
      optimizer: see `ascend`.
      steps: see `ascend`.
      project: see `ascend`.
      state: see `ascend`.
      axis_name: see `ascend`.

    Returns:
      The moved x, the state, and the mean objective at the first x (0 without a step).
    """
    origin = x
    transformation = optax.with_extra_args_support(optimizer)

    def descent(x: Any, state: Any) -> tuple[Array, tuple[Array, Any]]:
        values, state = objective(x, state)
        return -jnp.mean(values), (values, state)

    def step(index: int | Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        x, state, opt_state, first = carry
        (_, (values, state)), gradient = jax.value_and_grad(descent, has_aux=True)(
            x, state
        )
        mean = _global_mean(values, axis_name)
        if axis_name is not None:
            # Each device's mean depends on the others' x through collectives. Their
            # transposes add up to the gradient of the sum of all devices' means.
            size = jax.lax.axis_size(axis_name)
            gradient = jax.tree.map(lambda leaf: leaf / size, gradient)
        updates, opt_state = transformation.update(
            gradient, opt_state, x, value=-mean, values=-values
        )
        x = optax.apply_updates(x, updates)
        if project is not None:
            x = _as_in(project(x, origin), origin)
        return (
            x,
            state,
            opt_state,
            jnp.where(index == 0, mean.astype(first.dtype), first),
        )

    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(x)))
    carry = (x, state, transformation.init(x), zero)
    static_steps = static(steps)
    if static_steps == 1:
        carry = step(0, carry)
    elif static_steps != 0:
        carry = jax.lax.fori_loop(0, steps, step, carry)
    moved, state, _, first = carry
    return moved, state, first


def _global_mean(values: Array, axis_name: str | None) -> Array:
    """Computes the mean over the batch of all devices."""
    mean = jnp.mean(values)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def static(steps: Any) -> int | None:
    """Returns the number of steps, or None if it is traced.

    Raises:
      ValueError: it is negative or isn't an integer.
    """
    if not jnp.issubdtype(jnp.result_type(steps), jnp.integer) or jnp.ndim(steps):
        raise ValueError(f"steps is {steps}; it must be an integer")
    if isinstance(steps, jax.core.Tracer):
        return None
    count = int(np.asarray(steps))
    if count < 0:
        raise ValueError(f"steps is {count}; it must be at least 0")
    return count


def _in_full_precision(x: Any) -> Any:
    """Casts to at least float32: half precision loses small steps and squares."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), x
    )


def _as(x: Any, dtypes: Any) -> Any:
    return jax.tree.map(lambda leaf, dtype: leaf.astype(dtype), x, dtypes)


def _as_in(x: Any, like: Any) -> Any:
    return jax.tree.map(lambda leaf, of: jnp.asarray(leaf, of.dtype), x, like)


def _both(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ValueError(
            "the objective must return (values, state), but it returned a"
            f" {type(returned).__name__}"
        )
    return returned


def _check_batch(x: Any) -> int:
    """Returns the batch size of x.

    Raises:
      ValueError: x isn't a batch of floating-point arrays.
    """
    leaves = jax.tree.leaves(x)
    if not leaves:
        raise ValueError("x has no arrays; give a batch, such as images [B, H, W, C]")
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"x is of dtype {leaf.dtype}; gradients take floating-point arrays, so"
                " normalise integer images first"
            )
    sizes = {leaf.shape[:1] for leaf in leaves}
    if len(sizes) > 1 or sizes == {()}:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in leaves)
        raise ValueError(f"x needs one leading batch axis; its shapes are {shapes}")
    ((batch_size,),) = sizes
    return int(batch_size)


def _check_values(values: Any, batch_size: int) -> None:
    shape = jnp.shape(values)
    if shape != (batch_size,):
        raise ValueError(
            f"the objective gave values of shape {list(shape)}; it must give one for"
            f" each example, [{batch_size}]"
        )


def rebuilt(state: Any) -> Any:
    """Copies the containers of a state, which the objective may change in place."""
    leaves, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(structure, leaves)


def _like(state: Any, given: Any) -> Any:
    """Casts a returned state to the dtypes of the given one.

    Raises:
      ValueError: their structures differ.
    """
    found: Any = jax.tree.structure(state)
    expected: Any = jax.tree.structure(given)
    if found != expected:
        raise ValueError(
            "the state after a step must have the structure of the one before;"
            f" it was {expected} and is {found}"
        )
    return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), state, given)


def flip(
    key: Array | None, probability: float | Float[Array, ""]
) -> Bool[Array, ""] | None:
    """Flips the coin of a batch; returns None without a key.

    Raises:
      ValueError: `probability` isn't from 0 to 1, or is below 1 without a key.
    """
    if isinstance(probability, int | float | np.number):
        if not 0 <= probability <= 1:
            raise ValueError(f"probability is {probability}; it must be from 0 to 1")
        if key is None and probability == 1:
            return None
    if key is None:
        raise ValueError(
            f"probability is {probability}: flipping a coin needs a key; give"
            " key=jax.random.key(...), a different one for each batch"
        )
    return jax.random.bernoulli(key, probability)
