"""RandAugment, the strong view of an image, on the device.

Two operations in a row, drawn from OPERATIONS with a strength each, and at last a grey
square (Cutout). The operations are Pillow's on bytes, to the bit but for what floating
point makes of a whole number: a stretched value, a coordinate between two pixels.

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
"""Of Cutout: at most so much of an image's width."""
GREY = (125, 123, 114)

Operation = Callable[[jax.Array, jax.Array], jax.Array]
"""(bytes as int32 `[H, W, 3]`, strength) to bytes as int32 `[H, W, 3]`."""


def autocontrast(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Each channel stretched to 0 … 255."""
    del strength
    low = jnp.min(image, axis=(0, 1))
    high = jnp.max(image, axis=(0, 1))
    stretched = 255 * (image - low) // jnp.maximum(high - low, 1)
    return jnp.where(high > low, stretched, image)


def brightness(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Towards black."""
    return _blend(jnp.zeros_like(image), image, strength)


def color(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Towards grey, each pixel by itself."""
    return _blend(_luma(image)[..., None], image, strength)


def contrast(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Towards the mean grey of the image."""
    luma = _luma(image)
    mean = (2 * jnp.sum(luma) + luma.size) // (2 * luma.size)
    return _blend(jnp.full_like(image, mean), image, strength)


def equalize(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Each channel's histogram as flat as it gets."""
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
    """Nothing."""
    del strength
    return image


def posterize(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Only the first ⌊strength⌋ bits of each byte."""
    dropped = 8 - jnp.maximum(strength.astype(jnp.int32), 1)
    return (image >> dropped) << dropped


def rotate(image: jax.Array, strength: jax.Array) -> jax.Array:
    """By `strength` degrees, counter-clockwise around the centre."""
    angle = -jnp.deg2rad(strength)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    center = jnp.array(image.shape[1::-1]) / 2
    matrix = jnp.array([[cos, sin], [-sin, cos]])
    shift = center - matrix @ center
    return _affine(image, (*matrix[0], shift[0], *matrix[1], shift[1]))


def sharpness(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Towards a blurred image, whose border stays."""
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
    """Rows moved by `strength` a row."""
    return _affine(image, (1, strength, 0, 0, 1, 0))


def shear_y(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Columns moved by `strength` a column."""
    return _affine(image, (1, 0, 0, strength, 1, 0))


def solarize(image: jax.Array, strength: jax.Array) -> jax.Array:
    """What is `strength` or brighter, inverted."""
    return jnp.where(image < strength, image, 255 - image)


def translate_x(image: jax.Array, strength: jax.Array) -> jax.Array:
    """To the side, by `strength` of the width."""
    return _affine(image, (1, 0, strength * image.shape[1], 0, 1, 0))


def translate_y(image: jax.Array, strength: jax.Array) -> jax.Array:
    """Up or down, by `strength` of the height."""
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
"""Each with its least and its largest strength."""


def cutout(image: jax.Array, center: jax.Array, size: jax.Array) -> jax.Array:
    """A grey square of `size` pixels' width around `center` (x, y), cut at the border.

    Of `[H, W, 3]`. Its corners are whole pixels, both included, as Pillow draws it.
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
    """Strong views of uint8 `[B, H, W, 3]`, with a key each, `[B]`."""
    return jax.vmap(_one)(keys, images)


def _one(key: jax.Array, image: jax.Array) -> jax.Array:
    operations, least, largest = zip(*OPERATIONS, strict=True)
    which_key, strength_key, center_key, size_key = jax.random.split(key, 4)
    which = jax.random.randint(which_key, (NUM_OPERATIONS,), 0, len(operations))
    share = jax.random.uniform(strength_key, (NUM_OPERATIONS,))
    lows, highs = jnp.array(least)[which], jnp.array(largest)[which]
    strengths = lows + (highs - lows) * share
    moved = image.astype(jnp.int32)
    for index, strength in zip(which, strengths, strict=True):
        moved = jax.lax.switch(index, operations, moved, strength)
    extent = jnp.array(image.shape[1::-1])
    center = jax.random.uniform(center_key, (2,)) * extent
    size = jax.random.uniform(size_key, maxval=LARGEST_SQUARE) * image.shape[1]
    return cutout(moved, center, size).astype(jnp.uint8)


def _blend(towards: jax.Array, image: jax.Array, strength: jax.Array) -> jax.Array:
    """`strength` of the image and the rest of the other, cut to whole numbers."""
    strength = strength.astype(jnp.float32)
    return (towards + strength * (image - towards)).astype(jnp.int32)


def _luma(image: jax.Array) -> jax.Array:
    """`[H, W, 3]` to `[H, W]`, ITU-R 601 in 16 bits."""
    weights = jnp.array([19595, 38470, 7471])
    return (jnp.sum(image * weights, axis=-1) + 0x8000) >> 16


def _affine(image: jax.Array, matrix: tuple[jax.typing.ArrayLike, ...]) -> jax.Array:
    """The pixel nearest to (ax + by + c, dx + ey + f) at each (x, y); black outside."""
    a, b, c, d, e, f = matrix
    height, width, _ = image.shape
    y, x = jnp.mgrid[:height, :width] + 0.5
    column = jnp.floor(a * x + b * y + c).astype(jnp.int32)
    row = jnp.floor(d * x + e * y + f).astype(jnp.int32)
    is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
    return jnp.where(is_inside[..., None], image[row, column], 0)
