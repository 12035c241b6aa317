"""RandAugment against Pillow, which the published strong views are made with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from da_jax.data import randaugment
from da_jax.data.randaugment import GREY, OPERATIONS
from tests import golden


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


PILLOW = {
    "autocontrast": lambda image, v: ImageOps.autocontrast(image),
    "brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "equalize": lambda image, v: ImageOps.equalize(image),
    "identity": lambda image, v: image,
    "posterize": lambda image, v: ImageOps.posterize(image, int(v)),
    "rotate": lambda image, v: image.rotate(v),
    "sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    "shear_x": lambda image, v: affine(image, 1, v, 0, 0, 1, 0),
    "shear_y": lambda image, v: affine(image, 1, 0, 0, v, 1, 0),
    "solarize": lambda image, v: ImageOps.solarize(image, v),
    "translate_x": lambda image, v: affine(image, 1, 0, 32 * v, 0, 1, 0),
    "translate_y": lambda image, v: affine(image, 1, 0, 0, 0, 1, 32 * v),
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda value: value[0].__name__)
def test_operations_equal_pillow_s(operation):
    ours, least, largest = operation
    images, _ = golden.cifar100()
    strengths = np.random.default_rng(0).uniform(least, largest, len(images))
    found = jax.jit(jax.vmap(ours))(
        jnp.asarray(images, jnp.int32), jnp.asarray(strengths, jnp.float32)
    )
    theirs = PILLOW[ours.__name__]
    expected = np.stack(
        [
            np.asarray(theirs(Image.fromarray(image), float(np.float32(strength))))
            for image, strength in zip(images, strengths, strict=True)
        ]
    )
    difference = np.asarray(found) - expected
    if ours.__name__ in ("rotate", "shear_x", "shear_y"):
        # A coordinate between two pixels may be rounded to either.
        assert np.any(difference, axis=-1).mean() < 1e-3
    elif ours.__name__ == "autocontrast":
        # Pillow's floating-point arithmetic rounds some integers down by one.
        assert set(np.unique(difference)) <= {0, 1} and difference.mean() < 0.01
    else:
        assert not difference.any()


def test_cutout_equals_pillow_s_rectangle():
    images, _ = golden.cifar100()
    random = np.random.default_rng(1)
    for image in images[:64]:
        center, size = random.uniform(0, 32, 2), random.uniform(0, 16)
        first = [int(max(0, c - size / 2)) for c in center]
        last = [min(32, c + size) for c in first]
        expected = Image.fromarray(image)
        ImageDraw.Draw(expected).rectangle((*first, *last), GREY)
        found = randaugment.cutout(
            jnp.asarray(image, jnp.int32), jnp.asarray(center), jnp.asarray(size)
        )
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_view_depends_only_on_its_key():
    images, _ = golden.cifar100()
    images = jnp.asarray(images[:64])
    keys = jax.random.split(jax.random.key(0), len(images))
    views = jax.jit(randaugment.randaugment)(keys, images)
    assert views.shape == images.shape and views.dtype == jnp.uint8
    part = jax.jit(randaugment.randaugment)(keys[16:24], images[16:24])
    np.testing.assert_array_equal(part, views[16:24])
    changed = np.mean(np.any(views != images, axis=(1, 2, 3)))
    assert changed > 0.9
