"""Norms and distances of vectors, with finite gradients everywhere."""

import jax
import jax.numpy as jnp


def l2_norm(values: jax.Array, axis: int = -1) -> jax.Array:
    """Computes the L2 norm along `axis`, which is kept with size 1."""
    squares = jnp.sum(jnp.square(values), axis=axis, keepdims=True)
    is_zero = squares == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def l2_normalize(values: jax.Array, axis: int = -1, floor: float = 1e-12) -> jax.Array:
    """Divides by the L2 norm along `axis`, or by `floor` if that is larger.

    As `torch.nn.functional.normalize`, but a vector of zeros has a gradient of 0.
    """
    return values / jnp.maximum(l2_norm(values, axis), floor)


def pairwise_distances(vectors: jax.Array, floor: float) -> jax.Array:
    """Computes the L2 distances `[B, B]` between vectors.

    Args:
      vectors: `[B, C]`.
      floor: lower bound of the squared distances, except on the diagonal.
    """
    squares = jnp.sum(jnp.square(vectors), axis=-1)
    products = jnp.matmul(vectors, vectors.T, precision="highest")
    distances = squares[:, None] + squares[None, :] - 2 * products
    is_same = jnp.eye(len(vectors), dtype=bool)
    roots = jnp.sqrt(jnp.where(is_same, 1.0, jnp.maximum(distances, floor)))
    return jnp.where(is_same, 0.0, roots)
