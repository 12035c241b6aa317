"""Norms whose gradients are finite everywhere, and distances between vectors."""

import jax
import jax.numpy as jnp


def l2_norm(values: jax.Array, axis: int = -1) -> jax.Array:
    """The L2 norm of `values` along `axis`, which stays with a length of 1."""
    squares = jnp.sum(jnp.square(values), axis=axis, keepdims=True)
    is_zero = squares == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def l2_normalize(values: jax.Array, axis: int = -1, floor: float = 1e-12) -> jax.Array:
    """`values` over their L2 norm along `axis`, which counts as `floor` at least.

    As `torch.nn.functional.normalize`; a vector of zeros stays, with a gradient of 0.
    """
    return values / jnp.maximum(l2_norm(values, axis), floor)


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
