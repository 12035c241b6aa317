"""Gaussian noise and blur at CIFAR-C's five severities.

The functions take and return uint8 images; values are truncated, as in CIFAR-C.

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
    """Adds independent normal noise to every value.

    An image's noise depends only on the seed and the image's index; severities only
    scale it.

    Args:
      images: uint8 `[B, H, W, C]`.
      std: the standard deviation, for pixels in [0, 1].
      seed: of the noise.
      indices: the images' indices in their data set, `[B]`.
    """
    noise = [
        np.random.default_rng((seed, int(index))).normal(size=images.shape[1:])
        for index in indices
    ]
    return _to_bytes(images / 255 + std * np.stack(noise))


def gaussian_blur(
    images: np.ndarray, sigma: float, seed: int, indices: np.ndarray
) -> np.ndarray:
    """Convolves each channel with a Gaussian; edge pixels are repeated outside.

    Args:
      images: uint8 `[B, H, W, C]`.
      sigma: of the Gaussian, in pixels; it is truncated at 4 sigma.
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
    """A corruption and its severities.

    Attributes:
      apply: (images, severity, seed, indices) to corrupted images.
      severities: the parameters of CIFAR-C's severities 1 … 5.
    """

    apply: Callable[[np.ndarray, float, int, np.ndarray], np.ndarray]
    severities: tuple[float, ...]


CORRUPTIONS: dict[str, Corruption] = {
    "Gaussian noise": Corruption(gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "Gaussian blur": Corruption(gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
}
