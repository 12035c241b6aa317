"""RandAugment on the device, for the strong view of a batch.

Applies two operations, sampled from OPERATIONS with a strength each, and a grey square
(Cutout). The operations equal Pillow's on bytes, except where a floating-point value is
rounded to another integer (stretched values, coordinates between two pixels).

References:
  Cubuk et al., RandAugment, NeurIPS Datasets 2020.
  DeVries and Taylor, Improved Regularization of CNNs with Cutout, 2017.
  Jin et al., Multi-Level Logit Distillation, CVPR 2023: these operations and strengths,
  which are FixMatch's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

NUM_OPERATIONS = 2
LARGEST_SQUARE = 0.5
"""The largest square of Cutout, relative to the image's width."""
GREY = (125, 123, 114)

Operation = Callable[[jax.Array, jax.Array], jax.Array]
"""A function of an image and a strength; images are int32 `[H, W, 3]`, 0 to 255."""


def autocontrast(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Stretches each channel to 0 … 255."""
    del strength
    low = jnp.min(image, axis=(0, 1))
    high = jnp.max(image, axis=(0, 1))
    stretched = 255 * (image - low) // jnp.maximum(high - low, 1)
    return jnp.where(high > low, stretched, image)


def brightness(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Blends with black."""
    return _blend(jnp.zeros_like(image), image, strength)


def color(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Blends each pixel with its grey value."""
    return _blend(_luma(image)[..., None], image, strength)


def contrast(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Blends with the image's mean grey value."""
    luma = _luma(image)
    mean = (2 * jnp.sum(luma) + luma.size) // (2 * luma.size)
    return _blend(jnp.full_like(image, mean), image, strength)


def equalize(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Equalises the histogram of each channel."""
    del strength

    def one(channel: jax.Array) -> jax.Array:
        ordered = jnp.sort(channel.ravel())
        below = jnp.searchsorted(ordered, channel.ravel()).reshape(channel.shape)
        of_last = ordered.size - jnp.searchsorted(ordered, ordered[-1])
        step = (ordered.size - of_last) // 255
        flat = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255)
        return jnp.where(step > 0, flat, channel)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(image)


def identity(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Returns the image."""
    del strength
    return image


def posterize(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Keeps the first ⌊strength⌋ bits of each byte."""
    dropped = 8 - jnp.maximum(strength.astype(jnp.int32), 1)
    return (image >> dropped) << dropped


def rotate(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Rotates by `strength` degrees, counter-clockwise around the centre."""
    angle = -jnp.deg2rad(strength)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    center = jnp.array(image.shape[1::-1]) / 2
    matrix = jnp.array([[cos, sin], [-sin, cos]])
    shift = center - matrix @ center
    return _affine(image, (*matrix[0], shift[0], *matrix[1], shift[1]))


def sharpness(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Blends with a blurred image, except at the border."""
    height, width, _ = image.shape
    kernel = ((1, 1, 1), (1, 5, 1), (1, 1, 1))
    total = sum(
        weight * image[row : row + height - 2, column : column + width - 2]
        for row, weights in enumerate(kernel)
        for column, weight in enumerate(weights)
    )
    smooth = image.at[1:-1, 1:-1].set((2 * total + 13) // 26)
    return _blend(smooth, image, strength)


def shear_x(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Shifts rows by `strength` times their index."""
    return _affine(image, (1, strength, 0, 0, 1, 0))


def shear_y(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Shifts columns by `strength` times their index."""
    return _affine(image, (1, 0, 0, strength, 1, 0))


def solarize(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Inverts values of at least `strength`."""
    return jnp.where(image < strength, image, 255 - image)


def translate_x(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Shifts to the side, by `strength` times the width."""
    return _affine(image, (1, 0, strength * image.shape[1], 0, 1, 0))


def translate_y(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Shifts up or down, by `strength` times the height."""
    return _affine(image, (1, 0, 0, 0, 1, strength * image.shape[0]))


OPERATIONS: tuple[tuple[Operation, float, float], ...] = (
    (autocontrast, 0.0, 1.0),
    (brightness, 0.05, 0.95),
    (color, 0.05, 0.95),
    (contrast, 0.05, 0.95),
    (equalize, 0.0, 1.0),
    (identity, 0.0, 1.0),
    (posterize, 4.0, 8.0),
    (rotate, -30.0, 30.0),
    (sharpness, 0.05, 0.95),
    (shear_x, -0.3, 0.3),
    (shear_y, -0.3, 0.3),
    (solarize, 0.0, 256.0),
    (translate_x, -0.3, 0.3),
    (translate_y, -0.3, 0.3),
)
"""Operations with their smallest and largest strengths."""


def cutout(image: jax.Array, center: jax.Array, size: jax.Array) -> jax.Array:
    """Draws a grey square, as Pillow does.

    Args:
      image: int32 `[H, W, 3]`.
      center: of the square, `[x, y]` in pixels.
      size: width of the square in pixels. Its corners are rounded to pixels and belong
        to it.
    """
    first = jnp.maximum(center - size / 2, 0).astype(jnp.int32)
    last = jnp.floor(first + size).astype(jnp.int32)
    rows, columns = (jnp.arange(length) for length in image.shape[:2])
    is_inside = (
        ((rows >= first[1]) & (rows <= last[1]))[:, None]
        & ((columns >= first[0]) & (columns <= last[0]))[None, :]
        & (size > 0)
    )
    return jnp.where(is_inside[..., None], jnp.array(GREY), image)


def randaugment(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Applies RandAugment.

    Args:
      keys: a random key for each image, `[B]`.
      images: uint8 `[B, H, W, 3]`.
    """
    return jax.vmap(_one)(keys, images)


def _one(key: jax.Array, image: jax.Array) -> jax.Array:
    operations, least, largest = zip(*OPERATIONS, strict=True)
    which_key, strength_key, center_key, size_key = jax.random.split(key, 4)
    which = jax.random.randint(which_key, (NUM_OPERATIONS,), 0, len(operations))
    share = jax.random.uniform(strength_key, (NUM_OPERATIONS,))
    lows, highs = jnp.array(least)[which], jnp.array(largest)[which]
    strengths = lows + (highs - lows) * share
    augmented = image.astype(jnp.int32)
    for index, strength in zip(which, strengths, strict=True):
        augmented = jax.lax.switch(index, operations, augmented, strength)
    extent = jnp.array(image.shape[1::-1])
    center = jax.random.uniform(center_key, (2,)) * extent
    size = jax.random.uniform(size_key, maxval=LARGEST_SQUARE) * image.shape[1]
    return cutout(augmented, center, size).astype(jnp.uint8)


def _blend(towards: jax.Array, image: jax.Array, strength: jax.Array) -> jax.Array:
    """Interpolates from `towards` (strength 0) to the image (strength 1)."""
    strength = strength.astype(jnp.float32)
    return (towards + strength * (image - towards)).astype(jnp.int32)


def _luma(image: jax.Array) -> jax.Array:
    """Computes the grey value `[H, W]` by ITU-R 601 in 16 bits."""
    weights = jnp.array([19595, 38470, 7471])
    return (jnp.sum(image * weights, axis=-1) + 0x8000) >> 16


def _affine(image: jax.Array, matrix: tuple[jax.typing.ArrayLike, ...]) -> jax.Array:
    """Moves the pixel at (ax + by + c, dx + ey + f) to (x, y); black outside."""
    a, b, c, d, e, f = matrix
    height, width, _ = image.shape
    y, x = jnp.mgrid[:height, :width] + 0.5
    column = jnp.floor(a * x + b * y + c).astype(jnp.int32)
    row = jnp.floor(d * x + e * y + f).astype(jnp.int32)
    is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
    return jnp.where(is_inside[..., None], image[row, column], 0)
