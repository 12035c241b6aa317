"""Preprocessing on the device, from uint8 images to a network's input.

Each example has a random key, split for the global batch, so that random choices don't
depend on the number of devices.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A data set's normalisation, and its random crops and flips.

    Attributes:
      mean: of each channel, in [0, 1].
      std: of each channel, in [0, 1].
      crop_padding: black pixels added on each side before the random crop.
      flip: whether to mirror training images with probability 1/2.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_padding: int = 4
    flip: bool = True

    def normalize(self, images: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
        """Computes (x / 255 − mean) / std of uint8 `[B, H, W, C]`."""
        # In this order no compiler can fuse a product and a sum, so all programs round
        # in the same way.
        mean = 255 * jnp.asarray(self.mean, dtype)
        return (images.astype(dtype) - mean) / (255 * jnp.asarray(self.std, dtype))

    def augment(self, keys: jax.Array, images: jax.Array) -> jax.Array:
        """Crops and flips images at random.

        The padding is black before normalisation, as in torchvision's `RandomCrop`.

        Args:
          keys: a random key for each image, `[B]`.
          images: uint8 `[B, H, W, C]`.
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
