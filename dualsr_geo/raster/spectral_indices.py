"""Normalised differences of two bands: NDVI, NDWI and NDRE, and how they differ between two images.

Each is ``(first - second) / (first + second)`` of two bands that are found by their wavelengths. A pixel has no index
where the denominator is small against that of the scene, as of a pixel without light, or negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band

# Nominal centre and range of wavelengths, nm: those of Sentinel-2, Landsat, WorldView and PlanetScope are inside.
GREEN_NM, RED_NM = (560.0, 520.0, 600.0), (665.0, 620.0, 690.0)
RED_EDGE_NM, NIR_NM = (710.0, 695.0, 745.0), (842.0, 760.0, 900.0)
# McFeeters (1996) for NDWI; Barnes et al. (2000) for NDRE.
FORMULAE = {"ndvi": (NIR_NM, RED_NM), "ndwi": (GREEN_NM, NIR_NM), "ndre": (NIR_NM, RED_EDGE_NM)}
# Denominators below this share of the scene's mean denominator have no index.
LEAST_SHARE = 0.01
# Sums of an index: of the two ways of comparing, the number of pixels, and the sums of the difference, its square and
# the index of the reference.
SUMS = (2, 4)


@dataclass(frozen=True)
class SpectralIndex:
    """A normalised difference of two bands.

    Attributes
    ----------
    name : str
        ``"ndvi"``, ``"ndwi"`` or ``"ndre"``.
    first, second : int
        Indices of its bands, from 0: ``(first - second) / (first + second)``.
    wavelengths_nm : (float, float)
        Their centres.
    """

    name: str
    first: int
    second: int
    wavelengths_nm: tuple[float, float]


def spectral_indices(bands: Sequence[Band]) -> tuple[SpectralIndex, ...]:
    """Return the indices whose bands a scene has.

    Of several bands in a range of wavelengths the one nearest to its nominal centre is used. Bands that the provider
    marks as bad, and bands without a wavelength, are not used.
    """
    present = []
    for name, ranges in FORMULAE.items():
        first, second = (_nearest(bands, *limits) for limits in ranges)
        if first is not None and second is not None:
            present.append(SpectralIndex(name, first[0], second[0], (first[1], second[1])))
    return tuple(present)


def _nearest(bands: Sequence[Band], centre: float, low: float, high: float) -> tuple[int, float] | None:
    """Return the number and the wavelength of the band nearest to a centre; None if no band is in the range."""
    inside = [
        (abs(b.wavelength_nm - centre), i, b.wavelength_nm)
        for i, b in enumerate(bands)
        if b.good and b.wavelength_nm is not None and low <= b.wavelength_nm <= high
    ]
    return min(inside)[1:] if inside else None


def difference_sums(
    estimate: NDArray[np.floating], reference: NDArray[np.floating], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the sums of an index of two images over the valid pixels, shape (4,); see `SUMS`."""
    reference = reference[valid].astype(np.float64)
    difference = estimate[valid].astype(np.float64) - reference
    return np.array([difference.size, difference.sum(), difference @ difference, reference.sum()])


def index_errors(indices: Sequence[SpectralIndex], sums: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """Return how each index differs from the reference, as JSON; indices without a pixel are left out.

    Parameters
    ----------
    indices : sequence of SpectralIndex
    sums : array, shape (index, 4)
        See `difference_sums`.

    Returns
    -------
    dict
        Of each name: wavelengths_nm; mean, that of the reference; bias and rmse of the difference; pixels.
    """
    return {
        index.name: {
            "wavelengths_nm": list(index.wavelengths_nm),
            "mean": _rounded(total / pixels),
            "bias": _rounded(difference / pixels),
            "rmse": _rounded(math.sqrt(square / pixels)),
            "pixels": int(pixels),
        }
        for index, (pixels, difference, square, total) in zip(indices, sums.tolist(), strict=True)
        if pixels
    }


def index_fidelity(indices: Sequence[SpectralIndex], sums: NDArray[np.float64]) -> dict[str, dict[str, Any]] | None:
    """Return how the indices of a product differ from those of its scene, as JSON; None if none has a pixel.

    Parameters
    ----------
    indices : sequence of SpectralIndex
    sums : array, shape (index, 2, 4)
        Of the index of the degraded product, and of the degraded index of the product.

    Returns
    -------
    dict or None
        That of `index_errors` for the index of the degraded product, and in ``averaged`` bias and rmse of the degraded
        index.
    """
    averaged = index_errors(indices, sums[:, 1])
    errors = {
        name: {**error, "averaged": {key: averaged[name][key] for key in ("bias", "rmse")}}
        for name, error in index_errors(indices, sums[:, 0]).items()
    }
    return errors or None


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
