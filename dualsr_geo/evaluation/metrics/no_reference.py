"""Quality without a reference: a product against the scene and the guide that it was made of.

Whole arrays (band, y, x), NaN where invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.evaluation.metrics.image_pair import pair
from dualsr_geo.evaluation.metrics.scores import measure, q2n

Cube = NDArray[Any]

# All pairs of 32 bands; of more, as many drawn at random.
MOST_PAIRS = 496
SEED = 0
# Pairs that are compared at once, each a copy of two bands.
PAIRS_AT_ONCE = 8
# Directions of the product with less of its variance are the rounding of float32 values.
RANK = 1e-12
# Pixels of the regression at once.
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
    """Return the spatial distortion: what of the guide the product's bands do not explain, 0 at best.

    1 - R^2 of the linear regression of a guide band on the product's bands with an intercept, mean over guide
    bands; the PRISMA toolbox's DS^R (G. Vivone et al., IEEE GRSM 11(2), 2023), which has no intercept. Pixels
    valid in every band of both are used; a band without any valid pixel and a constant guide band are left out.

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
    made, detail = (c.reshape(len(c), -1)[np.isfinite(c).any((1, 2))] for c in (product, guide))
    valid = np.isfinite(np.concatenate([made, detail])).all(0)
    if not (len(made) and len(detail) and valid.any()):
        raise InputError("No pixel is valid in every band of product and guide. Give a guide that covers the product.")
    explained = _explained(_covariance(made, detail, valid), len(made))
    return float(1 - np.nanmean(explained)) if np.isfinite(explained).any() else float("nan")


def hqnr(d_lambda: float, d_s: float) -> float:
    """Return the hybrid quality (1 - d_lambda) (1 - d_s) of `d_lambda_khan` and `d_s`, 1 at best."""
    return (1 - d_lambda) * (1 - d_s)


def d_lambda(product: Cube, scene: Cube) -> float:
    """Return Alparone's spectral distortion: how much the UQI between bands changed, 0 at best.

    L. Alparone et al., PE&RS 74(2), 2008, with exponent 1 and the windows of `metrics.uqi`. The pairs of bands grow
    with their square, so beyond 496 pairs (32 bands) only 496 are taken, drawn at random with a fixed seed.

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
    """Return Alparone's spatial distortion: how much the UQI of bands and guide changed, 0 at best.

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
    """Return the UQI of each band of one image and of another in any unit."""
    return measure(pair(a, b, one_unit=False), {"windows"}, peak=1.0).per_band["uqi"]


def _pairs(bands: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(bands, 1)
    if len(first) <= MOST_PAIRS:
        return first, second
    chosen = np.sort(np.random.default_rng(SEED).choice(len(first), MOST_PAIRS, replace=False))
    return first[chosen], second[chosen]


def _covariance(product: Cube, guide: Cube, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the scatter of the product's and then the guide's bands, (band, band), from pieces of pixels."""
    pixels = np.flatnonzero(valid)
    pieces = [pixels[i : i + PIXELS_AT_ONCE] for i in range(0, len(pixels), PIXELS_AT_ONCE)]

    def values(piece: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.concatenate([product[:, piece], guide[:, piece]]).astype(np.float64)

    mean = sum(values(p).sum(1) for p in pieces) / len(pixels)
    scatter = np.zeros((len(mean), len(mean)))
    for piece in pieces:
        centred = values(piece) - mean[:, None]
        scatter += centred @ centred.T
    # float32 resolves a relative deviation of 1e-7: what varies less is constant.
    constant = np.diag(scatter) <= 1e-14 * len(pixels) * mean**2
    scatter[constant] = scatter[:, constant] = 0
    return scatter


def _explained(scatter: NDArray[np.float64], bands: int) -> NDArray[np.float64]:
    """Return R^2 of each guide band; NaN of a constant one."""
    deviation = np.sqrt(np.diag(scatter))
    unit = np.where(deviation > 0, deviation, 1)
    correlation = scatter / unit / unit[:, None]
    values, vectors = np.linalg.eigh(correlation[:bands, :bands])
    kept = values > RANK * max(values[-1], RANK)
    along = vectors[:, kept].T @ correlation[:bands, bands:]
    explained = (along**2 / values[kept, None]).sum(0)
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
