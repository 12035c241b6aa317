"""Convolutions whose gradients are fast on CPUs, inside loops and conds too.

The gradients of a convolution are convolutions, which JAX writes with the axes of
images and kernels permuted. XLA's CPU compiler permutes them back only outside of loops
and conds; inside, its generic implementation is about 70 times slower. Here they are
written in the order that has a fast implementation, images `BHWC` and kernels `HWIO`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
"""The axes of images, kernels and outputs."""

Precision = str | jax.lax.Precision | None
"""The precision of products, as in `jax.lax`; None is the device's default."""

Padding = tuple[tuple[int, int], tuple[int, int]]

Settings = tuple[int, Padding, Precision]
"""Stride, padding and precision; both axes have the same stride."""


def conv_general_dilated(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    feature_group_count: int = 1,
    precision: Precision = None,
    **options: Any,
) -> jax.Array:
    """Computes `jax.lax.conv_general_dilated`, with gradients that are fast on CPUs.

    Has the signature with which `flax.linen.Conv` calls its `conv_general_dilated`.
    Grouped convolutions have JAX's gradients.

    Args:
      inputs: `[B, H, W, I]`.
      kernel: `[h, w, I / groups, O]`.
      window_strides: of both axes, equal.
      padding: before and after, of both axes.
      feature_group_count: the number of groups.
      precision: of the products.
      **options: other arguments of `jax.lax.conv_general_dilated`, at Flax's defaults.

    Returns:
      `[B, H / stride, W / stride, O]`, up to padding.
    """
    if feature_group_count == 1:
        settings = (window_strides[0], (padding[0], padding[1]), precision)
        return _convolve(inputs, kernel, settings)
    return jax.lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides,
        padding,
        feature_group_count=feature_group_count,
        precision=precision,
        **options,
    )


def _plain(inputs: jax.Array, kernel: jax.Array, settings: Settings) -> jax.Array:
    stride, padding, precision = settings
    return jax.lax.conv_general_dilated(
        inputs,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=DIMENSIONS,
        precision=precision,
    )


_convolve = jax.custom_vjp(_plain, nondiff_argnums=(2,))


def _forward(
    inputs: jax.Array, kernel: jax.Array, settings: Settings
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(inputs, kernel, settings), (inputs, kernel)


def _backward(
    settings: Settings, factors: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return jax.lax.platform_dependent(
        *factors,
        cotangent,
        cpu=functools.partial(_gradients_for_cpus, settings),
        default=functools.partial(_gradients, settings),
    )


_convolve.defvjp(_forward, _backward)


def _gradients(
    settings: Settings, inputs: jax.Array, kernel: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients as JAX does."""
    _, transpose = jax.vjp(
        lambda inputs, kernel: _plain(inputs, kernel, settings), inputs, kernel
    )
    return transpose(cotangent)


def _gradients_for_cpus(
    settings: Settings, inputs: jax.Array, kernel: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes the same gradients as convolutions of `BHWC` and `HWIO`."""
    stride, padding, precision = settings
    if kernel.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)):
        return _gradients_of_one_by_one(inputs, kernel, cotangent, stride, precision)
    axes = [
        (inputs.shape[axis], kernel.shape[axis - 1], cotangent.shape[axis])
        for axis in (1, 2)
    ]
    # Towards the images: the flipped kernel over the cotangent, dilated by the stride.
    gaps = [(0, 0, 0)]
    for (size, window, out), (before, _) in zip(axes, padding, strict=True):
        low = window - 1 - before
        high = size + window - 1 - ((out - 1) * stride + 1) - low
        gaps.append((low, high, stride - 1))
    gaps.append((0, 0, 0))
    to_inputs = _plain(
        jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), gaps),
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, ((0, 0), (0, 0)), precision),
    )
    # Towards the kernel: the batch takes the place of the channels.
    overlaps = [
        (before, window + (out - 1) * stride - size - before)
        for (size, window, out), (before, _) in zip(axes, padding, strict=True)
    ]
    to_kernel = jax.lax.conv_general_dilated(
        inputs.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        (1, 1),
        overlaps,
        rhs_dilation=(stride, stride),
        dimension_numbers=DIMENSIONS,
        precision=precision,
    )
    return to_inputs, to_kernel.transpose(1, 2, 0, 3)


def _gradients_of_one_by_one(
    inputs: jax.Array,
    kernel: jax.Array,
    cotangent: jax.Array,
    stride: int,
    precision: Precision,
) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients of a 1×1 kernel as matrix products."""
    used = inputs[:, ::stride, ::stride]
    to_kernel = jnp.einsum("bhwi,bhwo->io", used, cotangent, precision=precision)
    to_used = jnp.einsum("bhwo,io->bhwi", cotangent, kernel[0, 0], precision=precision)
    unused = [
        (0, size - (out - 1) * stride - 1, stride - 1)
        for size, out in zip(inputs.shape[1:3], cotangent.shape[1:3], strict=True)
    ]
    zero = jnp.zeros((), cotangent.dtype)
    to_inputs = jax.lax.pad(to_used, zero, [(0, 0, 0), *unused, (0, 0, 0)])
    return to_inputs, to_kernel[None, None]
