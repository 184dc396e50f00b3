"""Sums over one tile of an image pair; the sums of all tiles add up to those that scores are computed from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.evaluation.metrics.image_pair import Pair
from dualsr_geo.evaluation.metrics.q2n import block_sums
from dualsr_geo.evaluation.metrics.ssim import FLAT, laplacian, valid_neighbourhoods, window_sums
from dualsr_geo.raster.spectral_indices import LEAST_SHARE, SpectralIndex, difference_sums
from dualsr_geo.raster.windows import Tile

Planes = NDArray[np.float64]
Kind = Literal["windows", "edges", "spectra", "blocks"]
KINDS: frozenset[Kind] = frozenset({"windows", "edges", "spectra", "blocks"})
# Pixels of the bands that are compared at once, so that their float64 planes stay in the cache.
GROUP_PIXELS = 2**18


@dataclass(frozen=True)
class TileSums:
    """Sums over the pixels of one tile or of several.

    Attributes
    ----------
    bands : array, shape (7, band)
        Of valid pixels: their number, x, y, x x, y y, x y (x the estimate, y the reference, both less the pivot)
        and the squared difference.
    edges : array, shape (6, band)
        The first six of `bands`, of the Laplacians.
    windows : array, shape (3, band)
        SSIM, UQI and the number of windows.
    spectra : array, shape (3,)
        Spectral angles (rad), their number, and the number of pixels valid in every band.
    blocks : array, shape (2,)
        Q2n of blocks times their number of pixels, and the number of pixels.
    indices : array, shape (index, 4)
        Differences of the spectral indices; see `spectral_indices.difference_sums`.
    """

    bands: Planes
    edges: Planes
    windows: Planes
    spectra: Planes
    blocks: Planes
    indices: Planes

    @classmethod
    def empty(cls, bands: int, indices: int = 0) -> TileSums:
        """Return the sums over no pixel."""
        shapes = (7, bands), (6, bands), (3, bands), (3,), (2,), (indices, 4)
        return cls(*(np.zeros(shape) for shape in shapes))

    def __add__(self, other: TileSums) -> TileSums:
        return TileSums(
            self.bands + other.bands,
            self.edges + other.edges,
            self.windows + other.windows,
            self.spectra + other.spectra,
            self.blocks + other.blocks,
            self.indices + other.indices,
        )


def tile_sums(pair: Pair, tile: Tile, peak: float, kinds: Collection[Kind] = KINDS) -> TileSums:
    """Return the sums over one tile.

    Parameters
    ----------
    pair : Pair
    tile : Tile
        With a halo of `ssim.RADIUS` pixels; its core begins at multiples of 32 pixels.
    peak : float
        Data range of SSIM.
    kinds : collection of str
        The sums to compute in addition to those of bands.
    """
    estimate, reference = pair.read(tile.padded)
    core = tile.core.within(tile.padded).slices
    sums = TileSums.empty(len(estimate), len(pair.indices))
    angles = _SpectralAngles(tile.core.shape)
    step = max(1, GROUP_PIXELS // (estimate.shape[1] * estimate.shape[2]))
    for start in range(0, len(estimate), step):
        group = slice(start, start + step)
        x, y = (a[group].astype(np.float64) for a in (estimate, reference))
        angles.add(x[:, *core], y[:, *core])
        pivot = pair.pivot[group]
        x -= pivot
        y -= pivot
        valid = _mask(x, y)
        core_valid = None if valid is None else valid[:, *core]
        sums.bands[:6, group] = _moment_sums(x[:, *core], y[:, *core], core_valid)
        difference = x[:, *core] - y[:, *core]
        sums.bands[6, group] = np.einsum("byx,byx->b", difference, difference)
        if "edges" in kinds:
            sums.edges[:, group] = _edge_sums(x, y, valid, _inner(tile, pair.size))
        if "windows" in kinds:
            sums.windows[:, group] = window_sums(x, y, valid, pivot, peak)
    complete = angles.complete
    sums.spectra[2] = complete.sum()
    if "spectra" in kinds:
        sums.spectra[:2] = angles.total()
    if "blocks" in kinds:
        sums.blocks[:] = block_sums(estimate[:, *core], reference[:, *core], complete)
    for i, index in enumerate(pair.indices):
        sums.indices[i] = _index_sums(pair, index, estimate[:, *core], reference[:, *core])
    return sums


def _index_sums(pair: Pair, index: SpectralIndex, estimate: NDArray[Any], reference: NDArray[Any]) -> Planes:
    """Return the sums of a spectral index over pixels where it is defined in both images."""
    at = [pair.bands.index(band) for band in (index.first, index.second)]
    least = max(LEAST_SHARE * float(pair.pivot[at].sum()), np.finfo(np.float64).tiny)
    values, defined = [], np.ones(reference.shape[1:], bool)
    for image in (estimate, reference):
        first, second = image[at].astype(np.float64)
        total = first + second
        # A comparison with NaN is false.
        defined &= total >= least
        values.append((first - second) / np.where(defined, total, 1.0))
    return difference_sums(values[0], values[1], defined)


def correlation(sums: Planes, size: Planes) -> Planes:
    """Return the correlation coefficient of each band from its sums; NaN where an image is constant.

    Parameters
    ----------
    sums : array, shape (6, band)
    size : array, shape (band,)
        Mean square of the values; a variance that is tiny against it is rounding.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        n, x, y, xx, yy, xy = sums
        x_variance, y_variance, covariance = (s / n - p * q / n**2 for s, p, q in ((xx, x, x), (yy, y, y), (xy, x, y)))
        varies = (x_variance > FLAT * size) & (y_variance > FLAT * size)
        return np.where(varies, covariance / np.sqrt(x_variance * y_variance), np.nan)


class _SpectralAngles:
    """Spectral angles of the pixels of a tile's core, accumulated band by band."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.dot, self.xx, self.yy = (np.zeros(shape) for _ in range(3))

    def add(self, x: Planes, y: Planes) -> None:
        self.dot += np.einsum("byx,byx->yx", x, y)
        self.xx += np.einsum("byx,byx->yx", x, x)
        self.yy += np.einsum("byx,byx->yx", y, y)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether a pixel is valid in all bands of both images, (y, x): one NaN makes its sum NaN."""
        complete: NDArray[np.bool_] = np.isfinite(self.xx) & np.isfinite(self.yy)
        return complete

    def total(self) -> tuple[float, int]:
        """Return the sum of the angles (rad) and their number; a spectrum of zeros has no angle."""
        defined = self.complete & (self.xx > 0) & (self.yy > 0)
        cosine = self.dot[defined] / np.sqrt(self.xx[defined]) / np.sqrt(self.yy[defined])
        return float(np.arccos(cosine.clip(-1, 1)).sum()), int(defined.sum())


def _mask(x: Planes, y: Planes) -> NDArray[np.bool_] | None:
    """Set invalid pixels to 0, and return which pixels are valid in both images; None if all are."""
    valid: NDArray[np.bool_] = np.isfinite(x) & np.isfinite(y)
    if valid.all():
        return None
    x[~valid] = 0
    y[~valid] = 0
    return valid


def _moment_sums(x: Planes, y: Planes, valid: NDArray[np.bool_] | None) -> Planes:
    """Return the sums of 1, x, y, x x, y y and x y over valid pixels, shape (6, band)."""
    count = np.full(len(x), float(x[0].size)) if valid is None else valid.sum((1, 2)).astype(np.float64)
    squares = [np.einsum("byx,byx->b", a, b) for a, b in ((x, x), (y, y), (x, y))]
    return np.stack([count, x.sum((1, 2)), y.sum((1, 2)), *squares])


def _edge_sums(x: Planes, y: Planes, valid: NDArray[np.bool_] | None, inner: tuple[slice, slice]) -> Planes:
    """Return the sums of the Laplacians at the core's pixels whose neighbours are all in the image."""
    part = (slice(None), *inner)
    a, b = laplacian(x[part]), laplacian(y[part])
    if valid is None:
        return _moment_sums(a, b, None)
    inner_valid = valid_neighbourhoods(valid[part])
    return _moment_sums(a * inner_valid, b * inner_valid, inner_valid)


def _inner(tile: Tile, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the padded tile that the Laplacians of the core need."""
    return tile.core.grown(1).clipped(size).within(tile.padded).slices
