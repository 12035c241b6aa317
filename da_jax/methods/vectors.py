"""Norms whose gradients are finite everywhere, and distances between vectors."""

import jax
import jax.numpy as jnp


def l2_normalize(values: jax.Array, axis: int = -1, floor: float = 1e-12) -> jax.Array:
    """`values` over their L2 norm along `axis`, which counts as `floor` at least.

    As `torch.nn.functional.normalize`; a vector of zeros stays, with a gradient of 0.
    """
    squares = jnp.sum(jnp.square(values), axis=axis, keepdims=True)
    is_zero = squares == 0
    norm = jnp.sqrt(jnp.where(is_zero, 1.0, squares))
    return values / jnp.maximum(jnp.where(is_zero, 0.0, norm), floor)


def pairwise_distances(vectors: jax.Array, floor: float) -> jax.Array:
    """L2 distances `[B, B]` of the rows of `[B, C]`, 0 on the diagonal.

    Args:
      vectors: the rows.
      floor: what a squared distance is at least, off the diagonal.
    """
    squares = jnp.sum(jnp.square(vectors), axis=-1)
    products = jnp.matmul(vectors, vectors.T, precision="highest")
    distances = squares[:, None] + squares[None, :] - 2 * products
    is_same = jnp.eye(len(vectors), dtype=bool)
    roots = jnp.sqrt(jnp.where(is_same, 1.0, jnp.maximum(distances, floor)))
    return jnp.where(is_same, 0.0, roots)


def smooth_l1(difference: jax.Array) -> jax.Array:
    """Half the square where it is below 1, else |difference| − ½; their mean."""
    size = jnp.abs(difference)
    return jnp.mean(jnp.where(size < 1, 0.5 * jnp.square(difference), size - 0.5))
