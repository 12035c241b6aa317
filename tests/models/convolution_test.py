"""Gradients of convolutions against JAX's, and their order of axes in XLA."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from da_jax.models.convolution import DIMENSIONS, conv_general_dilated


def loss(convolve, strides, padding, **options):
    def of_outputs(images, kernel):
        outputs = convolve(images, kernel, strides, padding, **options)
        return jnp.sum(jnp.sin(outputs))

    return of_outputs


@pytest.mark.parametrize(
    ("window", "stride", "padding", "size"),
    [
        (3, 1, 1, 8),
        (3, 2, 1, 8),
        (3, 2, 1, 9),
        (1, 1, 0, 8),
        (1, 2, 0, 8),
        (5, 3, 2, 9),
    ],
)
def test_gradients_equal_jax_s(window, stride, padding, size):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        images = rng.normal(size=(4, size, size, 6))
        kernel = rng.normal(size=(window, window, 6, 5))
        arguments = ((stride, stride), ((padding, padding),) * 2)
        ours = loss(conv_general_dilated, *arguments)
        jaxs = loss(
            jax.lax.conv_general_dilated, *arguments, dimension_numbers=DIMENSIONS
        )
        found = jax.grad(ours, (0, 1))(images, kernel)
        expected = jax.grad(jaxs, (0, 1))(images, kernel)
        for ours, jaxs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, jaxs, rtol=1e-12, atol=1e-12)


def orders_in_a_loop(convolve, **options):
    """Lists the orders of axes of all convolutions that XLA compiles in a loop."""
    gradient = jax.grad(loss(convolve, (2, 2), ((1, 1), (1, 1)), **options), (0, 1))

    def steps(images, kernel, count):
        def body(_, both):
            return jax.tree.map(jnp.add, both, gradient(*both))

        return jax.lax.fori_loop(0, count, body, (images, kernel))

    arguments = jnp.zeros((4, 8, 8, 16)), jnp.zeros((3, 3, 16, 32)), 2
    program = jax.jit(steps).lower(*arguments).compile().as_text()
    return set(re.findall(r"dim_labels=(\S+?)[,\s]", program))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="needs the CPU backend")
def test_gradients_on_cpus_have_the_order_of_axes_that_is_fast():
    assert orders_in_a_loop(conv_general_dilated) == {"b01f_01io->b01f"}
    jaxs = orders_in_a_loop(jax.lax.conv_general_dilated, dimension_numbers=DIMENSIONS)
    assert len(jaxs) > 1  # else XLA permutes them itself, and ours is not needed


def test_gradients_on_other_devices_are_written_as_by_jax():
    arguments = (2, 2), ((1, 1), (1, 1))
    shapes = (
        jax.ShapeDtypeStruct((4, 8, 8, 16), jnp.float32),
        jax.ShapeDtypeStruct((3, 3, 16, 32), jnp.float32),
    )

    def orders(convolve, **options):
        gradient = jax.grad(loss(convolve, *arguments, **options), (0, 1))
        lowered = jax.jit(gradient).trace(*shapes).lower(lowering_platforms=("cuda",))
        return sorted(
            re.findall(r"dim_numbers = (\S+, .*?->\[.*?\])", lowered.as_text())
        )

    jaxs = orders(jax.lax.conv_general_dilated, dimension_numbers=DIMENSIONS)
    assert orders(conv_general_dilated) == jaxs and len(set(jaxs)) > 1
