"""Checks that the detail of a scene is its own, not that of another image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# The finest detail of a scene is compared with that at pixels this many times as large.
COARSE_RATIO = 4
# Variety of the finest detail below which it is reported, relative to that of the coarser detail. As measured, 22
# scenes have 1.1 to 5 (noise adds variety), degraded without noise 0.46 to 1.9. Nine of eleven products of GSA and
# MTF-GLP-HPM with a pan image have less than 0.3, one of eleven of Brovey.
MIN_RELATIVE_VARIETY = 0.3
# Smallest side of a part whose variety is measured, px.
MIN_SIDE_PX = 8
# Smallest number of bands: one image explains any two bands too well.
MIN_BANDS = 3
# Number of bands that are compared at most; more take seconds and do not change the result.
MAX_BANDS = 48


def variety(cubes: Sequence[Array]) -> float | None:
    """Return the variety of a scene's finest detail among its bands, relative to that of its coarser detail.

    Variety is the share of the variance of second differences (along both axes, each band of unit variance)
    that a single image for all bands does not explain. Pansharpening adds a single image to all bands.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)

    Returns
    -------
    float or None
        Variety over that of means of 4 x 4 pixels; None if the scene is too small, flat, or has fewer than
        three bands.
    """
    cubes = [c[:: -(-len(c) // MAX_BANDS)] for c in cubes]
    fine, coarse = ([d for c in some if (d := _detail(c)) is not None] for some in (cubes, map(_coarser, cubes)))
    if not coarse or len(coarse[0]) < MIN_BANDS:
        return None
    finest, reference = (_unshared(np.concatenate(d, 1)) for d in (fine, coarse))
    return None if finest is None or not reference else finest / reference


def _coarser(cube: Array) -> Array:
    """Return means of `COARSE_RATIO` x `COARSE_RATIO` pixels."""
    bands, height, width = cube.shape
    rows, columns = height // COARSE_RATIO, width // COARSE_RATIO
    cut = cube[:, : rows * COARSE_RATIO, : columns * COARSE_RATIO]
    return np.asarray(cut.reshape(bands, rows, COARSE_RATIO, columns, COARSE_RATIO).mean((2, 4)))


def _detail(cube: Array) -> Array | None:
    """Return second differences where all bands are valid, (band, pixel); None for a small part."""
    if min(cube.shape[1:]) < MIN_SIDE_PX:
        return None
    differences = np.diff(np.diff(cube.astype(np.float64), 2, axis=1), 2, axis=2)
    return np.asarray(differences[:, np.isfinite(differences).all(0)])


def _unshared(detail: Array) -> float | None:
    """Return the share of the variance that a single image does not explain; None for a flat scene."""
    detail = detail[detail.std(1) > 0] if detail.shape[1] else detail[:0]
    if len(detail) < MIN_BANDS:
        return None
    values = np.linalg.eigvalsh(np.corrcoef(detail))
    return float(1 - values[-1] / values.sum())


def note_borrowed_detail(cubes: Sequence[Array]) -> list[str]:
    """Return a note if the finest detail of a scene seems to come from another image.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
    """
    relative = variety(cubes)
    if relative is None or relative >= MIN_RELATIVE_VARIETY:
        return []
    note = (
        f"The scene's finest detail is nearly the same in all bands ({relative:.0%} as varied as its coarser detail, usually "
        "100% and more): it may have been pansharpened already. Give it as the sensor delivered it."
    )
    return [note]
