"""Corruptions that any camera may make: noise and blur, at CIFAR-C's five severities.

uint8 images in, uint8 images out: values are cut off to whole ones, as in CIFAR-C.

References:
  Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions
  and Perturbations, ICLR 2019.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.ndimage


def gaussian_noise(
    images: np.ndarray, std: float, seed: int, indices: np.ndarray
) -> np.ndarray:
    """Independent normal noise on every value.

    An image's noise depends on the seed and its index alone, and is the same at all
    severities but for its size.

    Args:
      images: uint8 `[B, H, W, C]`.
      std: of the noise, where pixels are in [0, 1].
      seed: of all the noise.
      indices: of the images in their data set, `[B]`.
    """
    noise = [
        np.random.default_rng((seed, int(index))).normal(size=images.shape[1:])
        for index in indices
    ]
    return _to_bytes(images / 255 + std * np.stack(noise))


def gaussian_blur(
    images: np.ndarray, sigma: float, seed: int, indices: np.ndarray
) -> np.ndarray:
    """Each channel's convolution with a Gaussian; the edge pixels go on outside.

    Args:
      images: uint8 `[B, H, W, C]`.
      sigma: of the Gaussian, in pixels; it ends at four times that.
      seed: not used.
      indices: not used.
    """
    del seed, indices
    blurred = scipy.ndimage.gaussian_filter(
        images / 255, sigma, axes=(1, 2), mode="nearest", truncate=4
    )
    return _to_bytes(blurred)


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    return (255 * np.clip(pixels, 0, 1)).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A way to spoil images.

    Attributes:
      apply: (images, severity, seed, indices) to corrupted images.
      severities: what CIFAR-C has as 1 … 5.
    """

    apply: Callable[[np.ndarray, float, int, np.ndarray], np.ndarray]
    severities: tuple[float, ...]


CORRUPTIONS: dict[str, Corruption] = {
    "Gaussian noise": Corruption(gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "Gaussian blur": Corruption(gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
}
