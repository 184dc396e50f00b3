"""Guides simulated from references: spectral responses of a camera, of a pan sensor, and random ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.training.augmentation import Floats, Rng

# Scenes of more bands may be thinned out to every second or third band.
MAX_UNTHINNED_BANDS = 18
# Share of the unusual samples whose bands are mixed with random signs, so that adjacent bands differ.
MIXED_SHARE = 0.25
# Share of the guides that are pan images, and the most bands of the other guides of unusual samples.
PAN_SHARE, MAX_GUIDE_BANDS = 0.5, 5
# Standard deviation of the logarithm of a sample's brightness.
BRIGHTNESS_LOG_STD = 0.25

GuideKind = Literal["rgb", "pan", "none"]
GUIDE_BANDS = {"rgb": 3, "pan": 1, "none": 0}

# Nikon D700: red, green, blue every 10 nm from 400 to 700 nm, counts of 8 bits. It is the response that
# SFPN and most fusion papers use on CAVE; the values are those of MoG-DCN's `P.mat`, a row by its sum.
NIKON_NM = np.arange(400.0, 701.0, 10.0)
NIKON_D700 = np.array([
    [2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 6, 11, 17, 21, 22, 21, 20, 20, 19, 19, 18, 18, 17, 17],
    [1, 1, 1, 1, 1, 1, 2, 4, 6, 8, 11, 16, 19, 21, 20, 18, 16, 14, 11, 7, 5, 3, 2, 2, 1, 1, 2, 2, 2, 2, 2],
    [7, 10, 15, 19, 25, 29, 30, 29, 27, 22, 16, 9, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
], dtype=np.float64)  # fmt: skip
# Bands that a scene must have within 400..700 nm for a camera to be simulated.
MIN_VISIBLE_BANDS = 3


def responses(kind: GuideKind, count: int, wavelengths_nm: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Return the weights of a scene's bands in each band of a guide.

    Parameters
    ----------
    kind : str
        ``"rgb"`` for the Nikon D700, ``"pan"`` for the mean of all bands, ``"none"``.
    count : int
        Bands of the scene.
    wavelengths_nm : array, shape (band,), optional
        Needed by ``"rgb"``.

    Returns
    -------
    array of float32, shape (guide band, band)
        Each row sums to 1.

    Raises
    ------
    InputError
        If fewer than three bands are within 400..700 nm, or the wavelengths are not known.
    """
    if kind != "rgb":
        return np.full((GUIDE_BANDS[kind], count), 1 / count, np.float32)
    if wavelengths_nm is None:
        raise InputError("The bands' wavelengths are not known, so no camera can be simulated. Give --guide pan.")
    weights = np.stack([np.interp(wavelengths_nm, NIKON_NM, row, left=0, right=0) for row in NIKON_D700])
    visible = int((weights.sum(0) > 0).sum())
    if visible < MIN_VISIBLE_BANDS:
        raise InputError(
            f"Only {visible} of {count} bands are within 400..700 nm, a camera needs {MIN_VISIBLE_BANDS}. "
            "Give --guide pan."
        )
    shares: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return shares


def draw_responses(rng: Rng, bands: int, cameras: Sequence[Floats], *, unusual: bool) -> NDArray[np.floating]:
    """Draw the responses of a guide, (guide band, band), rows summing to 1: pan, a camera, or Gaussians."""
    kind = rng.random()
    if kind < PAN_SHARE:
        first, last = (0, bands) if not unusual else sorted(rng.choice(bands + 1, 2, replace=False))
        # At least a quarter of the bands.
        last = max(last, first + max(2, bands // 4))
        flat = ((np.arange(bands) >= first) & (np.arange(bands) < last)).astype(float)
        pans = [c for c in cameras if len(c) == 1]
        return pans[int(rng.integers(len(pans)))] if pans and not unusual else flat[None] / max(flat.sum(), 1)
    colours = [c for c in cameras if len(c) > 1]
    if colours and (not unusual or kind < (1 + PAN_SHARE) / 2):
        return colours[int(rng.integers(len(colours)))]
    count = int(rng.integers(2, MAX_GUIDE_BANDS + 1)) if unusual else 3
    low, high = np.sort(rng.random(2)) if unusual and rng.random() < 0.5 else (0.05, 0.95)
    centres = (low + (high - low) * np.sort(rng.random(count))) * bands
    widths = bands * rng.uniform(0.03, 0.3, count)
    gaussians = np.exp(-0.5 * ((np.arange(bands) - centres[:, None]) / widths[:, None]) ** 2) + 1e-9
    return np.asarray(gaussians / gaussians.sum(1, keepdims=True))


def vary_spectrum(rng: Rng, patch: Floats, *, unusual: bool) -> Floats:
    """Thin out, reverse and brighten the bands of a patch (band, y, x); mix those of unusual samples."""
    cube = patch / max(float(patch.max()), 1e-12)
    if unusual and rng.random() < MIXED_SHARE:
        bands = np.arange(len(cube))
        smooth = np.exp(-0.5 * ((bands[:, None] - bands) / rng.uniform(2, 8)) ** 2)
        mixing = smooth @ rng.standard_normal((len(cube), len(cube)))
        mixing = 0.5 * mixing / np.linalg.norm(mixing, axis=1, keepdims=True) + rng.uniform(0, 1) * np.eye(len(cube))
        cube = np.einsum("ab,byx->ayx", mixing, cube)
        cube = cube - cube.min((1, 2), keepdims=True)
    stride = int(rng.choice([1, 1, 1, 2, 3])) if len(cube) > MAX_UNTHINNED_BANDS else 1
    cube = cube[int(rng.integers(stride)) :: stride]
    if rng.random() < 0.5:
        cube = cube[::-1]
    return np.ascontiguousarray(cube * math.exp(rng.normal(0, BRIGHTNESS_LOG_STD)), np.float32)
