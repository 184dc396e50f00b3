"""What real guides have and simulated ones lack: softness, noise, eight bits, JPEG, and a place that is a little off."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from dualsr_geo.training.augmentation import Floats, Rng

# Share of the guides that are blurred, and the range of their MTF gain at their own Nyquist frequency; of pan sensors
# it is 0.1 to 0.3.
SOFT_SHARE, SOFT_GAINS = 0.35, (0.1, 0.5)
# Shares of the guides with noise, with eight bits, and after JPEG.
NOISY_SHARE, EIGHT_BIT_SHARE, JPEG_SHARE = 0.3, 0.13, 0.12
# Range of the noise's standard deviation, share of the guide's largest value.
NOISE_STDS = (0.001, 0.015)
# Range of JPEG's quality, and Pillow's numbers for full and halved colours.
JPEG_QUALITIES, SUBSAMPLINGS = (75, 97), (0, 2)
# Numbers of bands that JPEG can hold.
JPEG_BANDS = (1, 3)
# What is brighter is cut when a guide is stretched to the eight bits of JPEG, percent.
STRETCH_PERCENTILE = 99.9
# Standard deviation of a displacement along each axis, hr pixels.
DISPLACEMENT_STD_PX = 0.5


def draw_defects(rng: Rng, guide: Floats) -> Floats:
    """Return a guide (guide band, y, x) with softness, and with noise, eight bits or JPEG, or none of these."""
    if rng.random() < SOFT_SHARE:
        sigma = math.sqrt(-2 * math.log(rng.uniform(*SOFT_GAINS))) / math.pi
        guide = gaussian_filter(guide, (0, sigma, sigma), mode="nearest")
    kind = rng.random()
    if kind < NOISY_SHARE:
        level = float(np.exp(rng.uniform(*np.log(NOISE_STDS)))) * float(guide.max())
        guide = guide + level * rng.standard_normal(guide.shape, np.float32)
    elif kind < NOISY_SHARE + EIGHT_BIT_SHARE:
        guide = _eight_bits(guide, float(guide.max())).astype(np.float32)
    elif kind < NOISY_SHARE + EIGHT_BIT_SHARE + JPEG_SHARE and len(guide) in JPEG_BANDS:
        quality, subsampling = int(rng.integers(*JPEG_QUALITIES)), int(rng.choice(SUBSAMPLINGS))
        guide = _jpeg(guide, quality, subsampling)
    return np.ascontiguousarray(guide, np.float32)


def displaced(rng: Rng, guide: Floats) -> Floats:
    """Return a guide (guide band, y, x) displaced by a part of a pixel."""
    offset = rng.normal(0, DISPLACEMENT_STD_PX, 2)
    moved = [shift(band, offset, order=3, mode="nearest") for band in guide]
    return np.ascontiguousarray(np.stack(moved), np.float32)


def _eight_bits(guide: Floats, high: float) -> Floats:
    """Round a guide to 255 steps between its smallest value and `high`."""
    low = float(guide.min())
    step = max(high - low, 1e-12) / 255
    return np.asarray(np.clip(np.round((guide - low) / step), 0, 255) * step + low, np.float32)


def _jpeg(guide: Floats, quality: int, subsampling: int) -> Floats:
    """Compress a guide of one or three bands, and read it."""
    low, high = float(guide.min()), float(np.percentile(guide, STRETCH_PERCENTILE))
    step = max(high - low, 1e-12) / 255
    stored = np.clip(np.round((guide - low) / step), 0, 255).astype(np.uint8)
    image = Image.fromarray(stored[0] if len(stored) == 1 else stored.transpose(1, 2, 0))
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=quality, subsampling=subsampling)
        values = np.asarray(Image.open(file), np.float32)
    planes = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    return np.asarray(planes * step + low, np.float32)
