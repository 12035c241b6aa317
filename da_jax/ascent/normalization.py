"""Normalisation of each example's gradient, so that an ascent's length is the same for
every batch size, number of classes and number of pixels."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

RELATIVE_EPSILON = 0.13
"""Adam's ε relative to the root mean square of an example's gradient.

With it, images of CIFAR-100 in batches of 64 move as far as with the original's ε of
1e-8, 0.686 α on average (`benchmarks/ascent_length.py`).
"""

NORMALIZATIONS = ("example",)


def normalize_by_example() -> optax.GradientTransformation:
    """Divides each example's gradient by its root mean square, over all leaves of x.

    A gradient of zeros stays one.

    Example:
      >>> import jax.numpy as jnp
      >>> normalize = normalize_by_example()
      >>> gradient = jnp.array([[3e-30, 4e-30], [0.0, 0.0]])
      >>> print(normalize.update(gradient, normalize.init(gradient))[0].tolist())
      [[0.848..., 1.131...], [0.0, 0.0]]
    """

    def update(updates: Any, params: Any) -> Any:
        del params
        # Squares of gradients of 1e-20 underflow in float32, so the largest goes first.
        updates = _divided(updates, _largest(updates))
        return _divided(updates, _root_mean_square(updates))

    return optax.stateless(update)


def _largest(tree: Any) -> jax.Array:
    """Returns each example's largest absolute value, `[B]`."""
    largest = [jnp.max(jnp.abs(_rows(leaf)), axis=1) for leaf in jax.tree.leaves(tree)]
    return jnp.max(jnp.stack(largest), axis=0)


def _root_mean_square(tree: Any) -> jax.Array:
    """Returns each example's root mean square, `[B]`."""
    rows = [_rows(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(jnp.mean(jnp.square(jnp.concatenate(rows, axis=1)), axis=1))


def _rows(leaf: jax.Array) -> jax.Array:
    return leaf.reshape(len(leaf), -1)


def _divided(tree: Any, divisors: jax.Array) -> Any:
    """Divides each example by its divisor, unless that is 0."""
    safe = jnp.where(divisors > 0, divisors, 1)
    return jax.tree.map(
        lambda leaf: leaf / safe.reshape(-1, *(1,) * (leaf.ndim - 1)), tree
    )
