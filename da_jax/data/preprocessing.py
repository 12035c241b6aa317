"""From stored uint8 images to a network's input, on the device.

Every random choice comes from a key of its own per example, drawn for the whole batch:
a device that holds a part of the batch makes the same choices as one that holds it all.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A data set's normalisation and augmentation.

    Attributes:
      mean: of each channel, in [0, 1].
      std: of each channel, in [0, 1].
      crop_padding: pixels of black on each side before the random crop.
      flip: mirror every other training image, by chance.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_padding: int = 4
    flip: bool = True

    def normalize(self, images: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
        """uint8 `[B, H, W, C]` to (x / 255 − mean) / std."""
        # In this order no compiler can fuse a product with a sum, so that the rounding
        # is the same in every program.
        mean = 255 * jnp.asarray(self.mean, dtype)
        return (images.astype(dtype) - mean) / (255 * jnp.asarray(self.std, dtype))

    def augment(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Random crop and flip of uint8 `[B, H, W, C]`, with a key each, `[B]`.

        The padding is black before normalisation, as torchvision's `RandomCrop` makes
        it on the original's images.
        """
        return jax.vmap(self._augment_one)(keys, images)

    def _augment_one(self, key: jax.Array, image: jax.Array) -> jax.Array:
        crop_key, flip_key = jax.random.split(key)
        pad = self.crop_padding
        padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        row, column = jax.random.randint(crop_key, (2,), 0, 2 * pad + 1)
        image = jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)
        if self.flip:
            mirrored = jax.random.bernoulli(flip_key)
            image = jnp.where(mirrored, image[:, ::-1], image)
        return image
