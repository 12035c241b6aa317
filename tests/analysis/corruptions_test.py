"""Noise and blur, compared with their definitions."""

import numpy as np
import pytest

from da_jax.analysis.robustness.corruptions import (
    CORRUPTIONS,
    gaussian_blur,
    gaussian_noise,
)
from tests import golden


def torch_blur(images, sigma):
    """Convolves with exp(−d² / 2σ²) in float64; edge pixels are repeated."""
    torch = pytest.importorskip("torch")
    radius = int(4 * sigma + 0.5)
    distances = torch.arange(-radius, radius + 1, dtype=torch.float64)
    row = torch.exp(-(distances**2) / (2 * sigma**2))
    kernel = torch.outer(row, row) / row.sum() ** 2
    pixels = torch.from_numpy(images / 255).permute(0, 3, 1, 2)
    padded = torch.nn.functional.pad(pixels, (radius,) * 4, mode="replicate")
    kernels = kernel.expand(3, 1, *kernel.shape)
    blurred = torch.nn.functional.conv2d(padded, kernels, groups=3).permute(0, 2, 3, 1)
    return 255 * blurred.numpy()


@pytest.mark.parametrize("sigma", CORRUPTIONS["Gaussian blur"].severities)
def test_blur_is_a_convolution_with_a_gaussian(sigma):
    images = golden.cifar100()[0][:8]
    blurred = gaussian_blur(images, sigma, 0, np.arange(8))
    assert blurred.dtype == np.uint8
    error = torch_blur(images, sigma) - blurred  # what is cut off
    assert error.min() > -1e-6 and error.max() < 1 + 1e-6


@pytest.mark.parametrize("std", CORRUPTIONS["Gaussian noise"].severities)
def test_noise_has_its_size(std):
    gray = np.full((20, 32, 32, 3), 128, np.uint8)
    noise = gaussian_noise(gray, std, 0, np.arange(20)) - 128.0
    assert noise.std() == pytest.approx(255 * std, rel=0.02)
    assert noise.mean() == pytest.approx(-0.5, abs=0.5)  # values are cut off
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_noise_is_an_image_s_and_stays_in_range():
    images = golden.cifar100()[0][:6]
    whole = gaussian_noise(images, 0.1, 3, np.arange(6))
    part = gaussian_noise(images[4:], 0.1, 3, np.arange(4, 6))
    np.testing.assert_array_equal(part, whole[4:])
    other = gaussian_noise(images, 0.1, 4, np.arange(6))
    assert (other != whole).mean() > 0.9
    dark = gaussian_noise(np.zeros_like(images), 0.1, 3, np.arange(6))
    assert 0.45 < (dark == 0).mean() < 0.56  # half of the noise, and what is under 1
