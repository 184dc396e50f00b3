"""Quality without a reference: a product against the scene and the guide that it is made from.

Arguments are whole arrays (band, y, x), NaN where invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.evaluation.metrics.image_pair import pair
from dualsr_geo.evaluation.metrics.scores import measure, q2n

Cube = NDArray[Any]

# All pairs of 32 bands; of more bands, as many pairs are drawn at random.
MAX_PAIRS = 496
SEED = 0
# Pairs that are compared at once, each a copy of two bands.
PAIRS_AT_ONCE = 8
# Principal components with a smaller share of the largest variance are rounding of float32 values.
MIN_VARIANCE_SHARE = 1e-12
# Bands with a smaller variance relative to their squared mean are constant: float32 resolves a deviation of 1e-7.
MIN_RELATIVE_VARIANCE = 1e-14
# Pixels of the regression that are read at once.
PIXELS_AT_ONCE = 2**15


def d_lambda_khan(degraded_product: Cube, scene: Cube) -> float:
    """Return Khan's spectral distortion, 1 - Q2n of the degraded product and the scene, 0 at best.

    Parameters
    ----------
    degraded_product, scene : array, shape (band, y, x)
        On the scene's grid.
    """
    return 1 - q2n(degraded_product, scene)


def d_s(product: Cube, guide: Cube) -> float:
    """Return the spatial distortion: the share of the guide's variance that the product does not explain, 0 at best.

    It is 1 - R^2 of the linear regression of a guide band on the product's bands with an intercept, averaged over
    guide bands. DS^R of the PRISMA toolbox (G. Vivone et al., IEEE GRSM 11(2), 2023) has no intercept. Only pixels
    valid in every band of both are used; bands without any valid pixel and constant guide bands are left out.

    Parameters
    ----------
    product : array, shape (band, y, x)
    guide : array, shape (guide band, y, x)
        On the product's grid.

    Raises
    ------
    InputError
        If the two differ in size or share no valid pixel.
    """
    _require_one_size(product, guide, "product", "guide")
    bands, guide_bands = (c.reshape(len(c), -1)[np.isfinite(c).any((1, 2))] for c in (product, guide))
    valid = np.isfinite(np.concatenate([bands, guide_bands])).all(0)
    if not (len(bands) and len(guide_bands) and valid.any()):
        raise InputError("No pixel is valid in every band of product and guide. Give a guide that covers the product.")
    explained = _explained(_scatter(bands, guide_bands, valid), len(bands))
    return float(1 - np.nanmean(explained)) if np.isfinite(explained).any() else float("nan")


def hqnr(d_lambda: float, d_s: float) -> float:
    """Return the hybrid quality (1 - d_lambda) (1 - d_s) of `d_lambda_khan` and `d_s`, 1 at best."""
    return (1 - d_lambda) * (1 - d_s)


def d_lambda(product: Cube, scene: Cube) -> float:
    """Return Alparone's spectral distortion: the mean change of the UQI between bands, 0 at best.

    L. Alparone et al., PE&RS 74(2), 2008, with exponent 1 and the windows of `metrics.uqi`. The number of pairs grows
    with the square of the number of bands, so of more than 496 pairs (32 bands) 496 are drawn at random with a fixed
    seed.

    Parameters
    ----------
    product : array, shape (band, ratio * y, ratio * x)
    scene : array, shape (band, y, x)

    Raises
    ------
    InputError
        If the two differ in bands.
    """
    _require_same_bands(product, scene)
    first, second = _pairs(len(scene))
    if not len(first):
        return 0.0
    changes = []
    for start in range(0, len(first), PAIRS_AT_ONCE):
        i, j = (indices[start : start + PAIRS_AT_ONCE] for indices in (first, second))
        changes.append(np.abs(_uqi(product[i], product[j]) - _uqi(scene[i], scene[j])))
    return _mean(np.concatenate(changes))


def d_s_alparone(product: Cube, scene: Cube, guide: Cube, guide_lr: Cube) -> float:
    """Return Alparone's spatial distortion: the mean change of the UQI between bands and guide, 0 at best.

    L. Alparone et al., PE&RS 74(2), 2008, with exponent 1; the mean over the guide's bands if it has several.

    Parameters
    ----------
    product : array, shape (band, ratio * y, ratio * x)
    scene : array, shape (band, y, x)
    guide : array, shape (guide band, ratio * y, ratio * x)
    guide_lr : array, shape (guide band, y, x)
        The guide degraded to the scene's grid.

    Raises
    ------
    InputError
        If bands or sizes do not match.
    """
    _require_same_bands(product, scene)
    _require_one_size(product, guide, "product", "guide")
    _require_one_size(scene, guide_lr, "scene", "degraded guide")
    changes = [
        np.abs(_uqi(product, np.broadcast_to(g, product.shape)) - _uqi(scene, np.broadcast_to(g_lr, scene.shape)))
        for g, g_lr in zip(guide, guide_lr, strict=True)
    ]
    return _mean(np.concatenate(changes))


def qnr(product: Cube, scene: Cube, guide: Cube, guide_lr: Cube) -> float:
    """Return Alparone's quality without reference, (1 - d_lambda) (1 - d_s_alparone), 1 at best."""
    return hqnr(d_lambda(product, scene), d_s_alparone(product, scene, guide, guide_lr))


def _uqi(a: Cube, b: Cube) -> NDArray[np.float64]:
    """Return the UQI of each band of two images, which may have different units."""
    return measure(pair(a, b, one_unit=False), {"windows"}, peak=1.0).per_band["uqi"]


def _pairs(bands: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(bands, 1)
    if len(first) <= MAX_PAIRS:
        return first, second
    chosen = np.sort(np.random.default_rng(SEED).choice(len(first), MAX_PAIRS, replace=False))
    return first[chosen], second[chosen]


def _scatter(product: Cube, guide: Cube, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the scatter matrix of the bands of product and guide, in this order, from the valid pixels."""
    pixels = np.flatnonzero(valid)
    pieces = [pixels[i : i + PIXELS_AT_ONCE] for i in range(0, len(pixels), PIXELS_AT_ONCE)]

    def values(piece: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.concatenate([product[:, piece], guide[:, piece]]).astype(np.float64)

    mean = sum(values(p).sum(1) for p in pieces) / len(pixels)
    scatter = np.zeros((len(mean), len(mean)))
    for piece in pieces:
        centred = values(piece) - mean[:, None]
        scatter += centred @ centred.T
    constant = np.diag(scatter) <= MIN_RELATIVE_VARIANCE * len(pixels) * mean**2
    scatter[constant] = scatter[:, constant] = 0
    return scatter


def _explained(scatter: NDArray[np.float64], bands: int) -> NDArray[np.float64]:
    """Return R^2 of each guide band, NaN if it is constant; `bands` is the number of bands of the product."""
    deviation = np.sqrt(np.diag(scatter))
    unit = np.where(deviation > 0, deviation, 1)
    correlation = scatter / unit / unit[:, None]
    values, vectors = np.linalg.eigh(correlation[:bands, :bands])
    significant = values > MIN_VARIANCE_SHARE * max(values[-1], MIN_VARIANCE_SHARE)
    projection = vectors[:, significant].T @ correlation[:bands, bands:]
    explained = (projection**2 / values[significant, None]).sum(0)
    return np.where(deviation[bands:] > 0, explained, np.nan)


def _mean(changes: NDArray[np.float64]) -> float:
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else float("nan")


def _require_same_bands(product: Cube, scene: Cube) -> None:
    if len(product) != len(scene):
        raise InputError(f"The product has {len(product)} bands, the scene {len(scene)}. Give the same bands of both.")


def _require_one_size(a: Cube, b: Cube, name: str, other: str) -> None:
    if a.shape[1:] != b.shape[1:]:
        (h, w), (p, q) = a.shape[1:], b.shape[1:]
        raise InputError(f"The {name} has {h} x {w} pixels (y, x), the {other} {p} x {q}. Give both on one grid.")
