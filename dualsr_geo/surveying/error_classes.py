"""Errors of a Wald pair by band, brightness and detail: levels, factors, and what intervals of both cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.fusion.error_model import BrightnessFactors, PairCoverage

# The quantile of absolute errors that is calibrated.
QUANTILE = 0.9
# Number of degraded pixels at which the level of a band is half its own and half that of all bands.
HALF_OWN_PX = 600
# Logarithms of the factors of the classes of brightness on seven scenes, darkest first, and the share of the scene's own
# that is added: the profiles of scenes and of their Wald pairs agree only in part.
USUAL_BRIGHTNESS, OWN_BRIGHTNESS_SHARE = (0.0, 0.0, -0.1, 0.2), 0.5
# Classes of equal numbers of pixels.
CLASSES = len(USUAL_BRIGHTNESS)
# Largest logarithm of the scene's own factor. Those of seven scenes are at most 0.7.
MAX_OWN_LOGARITHM = 1.0

Floats = NDArray[np.float32]


def shrunk_levels(relative: Floats, pixels: float) -> NDArray[np.float64]:
    """Return the quantile of every band, shrunk towards the band's mean times the ratio of both over all bands.

    Parameters
    ----------
    relative : array, shape (band, pixel)
        Absolute errors over their predicted size.
    pixels : float
        Number of degraded pixels.
    """
    mean = relative.mean(1, dtype=np.float64)
    # The quantile of a finite sample that a further value does not exceed with this probability (split conformal).
    share_within = min(1.0, QUANTILE * (1 + 1 / max(relative.shape[1], 1)))
    own: NDArray[np.float64] = np.quantile(relative, share_within, axis=1).astype(np.float64)
    some = (mean > 0) & (own > 0)
    if not some.any():
        return own
    common, share = float(np.median(own[some] / mean[some])), pixels / (pixels + HALF_OWN_PX)
    out = own.copy()
    out[some] = own[some] ** share * (common * mean[some]) ** (1 - share)
    return out


def classes_of(values: Floats) -> NDArray[np.int8]:
    """Return the class of every value, 0 for the lowest; the classes have about equal numbers of values."""
    limits = np.quantile(values, np.arange(1, CLASSES) / CLASSES)
    return np.searchsorted(limits, values, side="right").astype(np.int8)


def brightness_factors(relative: Floats, brightness: Floats, classes: NDArray[np.int8]) -> BrightnessFactors:
    """Return the factors on the standard deviation of the classes of brightness.

    Parameters
    ----------
    relative : array, shape (band, pixel)
        Absolute errors over the level of their band.
    brightness : array, shape (pixel,)
        Mean over the bands less that of the scene, physical units.
    classes : array of int, shape (pixel,)
    """
    places = np.quantile(brightness, (np.arange(CLASSES) + 0.5) / CLASSES).astype(np.float32)
    own = np.zeros(CLASSES)
    for k in range(CLASSES):
        part = relative[:, classes == k]
        value = np.quantile(part, QUANTILE) if part.size else 0.0
        own[k] = np.log(value) if value > 0 else 0.0
    logarithm = USUAL_BRIGHTNESS + OWN_BRIGHTNESS_SHARE * own.clip(-MAX_OWN_LOGARITHM, MAX_OWN_LOGARITHM)
    return BrightnessFactors(places, np.exp(logarithm).astype(np.float32))


def pair_coverage(inside: NDArray[np.bool_], brightness: NDArray[np.int8], detail: NDArray[np.int8]) -> PairCoverage:
    """Return the shares of errors within their intervals.

    Parameters
    ----------
    inside : array of bool, shape (band, pixel)
    brightness : array of int, shape (pixel,)
        Classes.
    detail : array of int, shape (band, pixel)
        Classes, of every band by itself.
    """
    by_brightness = [_share(inside[:, brightness == k]) for k in range(CLASSES)]
    by_detail = [_share(inside[detail == k]) for k in range(CLASSES)]
    return PairCoverage(
        inside.mean(1).astype(np.float32), np.array(by_brightness, np.float32), np.array(by_detail, np.float32)
    )


def coverage_record(coverage: PairCoverage | None, used: Sequence[int], bands: int) -> dict[str, Any] | None:
    """Return the shares of errors on the Wald pair within their intervals, as the provenance has them.

    Parameters
    ----------
    coverage : PairCoverage or None
    used : sequence of int
        The bands of `coverage` among all.
    bands : int
        Number of all bands.

    Returns
    -------
    dict or None
        ``all``, ``per_band`` (None for bands without data), and ``per_brightness_quartile`` and ``per_detail_quartile``,
        lowest first.
    """
    if coverage is None:
        return None
    of_band = dict(zip(used, coverage.band, strict=True))
    return {
        "all": _rounded(coverage.band.mean()),
        "per_band": [_rounded(of_band[b]) if b in of_band else None for b in range(bands)],
        "per_brightness_quartile": [_rounded(v) for v in coverage.brightness],
        "per_detail_quartile": [_rounded(v) for v in coverage.detail],
    }


def _rounded(share: float) -> float | None:
    return round(float(share), 4) if np.isfinite(share) else None


def _share(inside: NDArray[np.bool_]) -> float:
    return float(inside.mean()) if inside.size else float("nan")
