"""What one tile of a comparison counts; tallies of all tiles add up to the scores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.evaluation.metrics.image_pair import Pair
from dualsr_geo.evaluation.metrics.q2n import block_sums
from dualsr_geo.evaluation.metrics.ssim import FLAT, laplacian, whole, window_sums
from dualsr_geo.raster.windows import Tile

Planes = NDArray[np.float64]
Kind = Literal["windows", "edges", "spectra", "blocks"]
KINDS: frozenset[Kind] = frozenset({"windows", "edges", "spectra", "blocks"})
# Pixels of the bands that are compared at once: their float64 planes stay in the cache.
GROUP_PIXELS = 2**18


@dataclass(frozen=True)
class TileSums:
    """Sums over the pixels of one tile or of several.

    Attributes
    ----------
    bands : array, shape (7, band)
        Number, x, y, x x, y y and x y of valid pixels (x the estimate, y the reference, both less the pivot),
        and the squared difference.
    edges : array, shape (6, band)
        The first six of the Laplacians.
    windows : array, shape (3, band)
        SSIM, UQI, number of windows.
    spectra : array, shape (3,)
        Spectral angles (rad), their number, and pixels valid in every band.
    blocks : array, shape (2,)
        Q2n of blocks times their pixels, and pixels.
    """

    bands: Planes
    edges: Planes
    windows: Planes
    spectra: Planes
    blocks: Planes

    @classmethod
    def empty(cls, bands: int) -> TileSums:
        """Return the tally of no pixel."""
        return cls(np.zeros((7, bands)), np.zeros((6, bands)), np.zeros((3, bands)), np.zeros(3), np.zeros(2))

    def __add__(self, other: TileSums) -> TileSums:
        return TileSums(
            self.bands + other.bands,
            self.edges + other.edges,
            self.windows + other.windows,
            self.spectra + other.spectra,
            self.blocks + other.blocks,
        )


def tile_sums(pair: Pair, tile: Tile, peak: float, kinds: Collection[Kind] = KINDS) -> TileSums:
    """Count one tile.

    Parameters
    ----------
    pair : Pair
    tile : Tile
        With a halo of `similarity.RADIUS` pixels; its core begins at multiples of 32 pixels.
    peak : float
        Data range of SSIM.
    kinds : collection of str
        What is counted beside the bands' own sums.
    """
    made, truth = pair.read(tile.padded)
    core = tile.core.within(tile.padded).slices
    found = TileSums.empty(len(made))
    angles = _Angles(tile.core.shape)
    step = max(1, GROUP_PIXELS // (made.shape[1] * made.shape[2]))
    for start in range(0, len(made), step):
        part = slice(start, start + step)
        x, y = (a[part].astype(np.float64) for a in (made, truth))
        angles.add(x[:, *core], y[:, *core])
        pivot = pair.pivot[part]
        x -= pivot
        y -= pivot
        valid = _mask(x, y)
        inside = None if valid is None else valid[:, *core]
        found.bands[:6, part] = _sums(x[:, *core], y[:, *core], inside)
        difference = x[:, *core] - y[:, *core]
        found.bands[6, part] = np.einsum("byx,byx->b", difference, difference)
        if "edges" in kinds:
            found.edges[:, part] = _edges(x, y, valid, _inner(tile, pair.size))
        if "windows" in kinds:
            found.windows[:, part] = window_sums(x, y, valid, pivot, peak)
    every = angles.every
    found.spectra[2] = every.sum()
    if "spectra" in kinds:
        found.spectra[:2] = angles.close()
    if "blocks" in kinds:
        found.blocks[:] = block_sums(made[:, *core], truth[:, *core], every)
    return found


def correlation(sums: Planes, size: Planes) -> Planes:
    """Return the correlation coefficient of each band from its sums; NaN where one side is constant.

    Parameters
    ----------
    sums : array, shape (6, band)
    size : array, shape (band,)
        Mean square of the values, by which rounding is told from variance.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        n, x, y, xx, yy, xy = sums
        a, b, both = (s / n - p * q / n**2 for s, p, q in ((xx, x, x), (yy, y, y), (xy, x, y)))
        varies = (a > FLAT * size) & (b > FLAT * size)
        return np.where(varies, both / np.sqrt(a * b), np.nan)


class _Angles:
    """Spectral angles of a tile's core, band after band."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.dot, self.made, self.truth = (np.zeros(shape) for _ in range(3))

    def add(self, x: Planes, y: Planes) -> None:
        self.dot += np.einsum("byx,byx->yx", x, y)
        self.made += np.einsum("byx,byx->yx", x, x)
        self.truth += np.einsum("byx,byx->yx", y, y)

    @property
    def every(self) -> NDArray[np.bool_]:
        """Where all bands of both are valid: one NaN makes the sum NaN."""
        every: NDArray[np.bool_] = np.isfinite(self.made) & np.isfinite(self.truth)
        return every

    def close(self) -> tuple[float, int]:
        """Return the sum of the angles (rad) and their number; a spectrum of zeros has none."""
        known = self.every & (self.made > 0) & (self.truth > 0)
        cosine = self.dot[known] / np.sqrt(self.made[known]) / np.sqrt(self.truth[known])
        return float(np.arccos(cosine.clip(-1, 1)).sum()), int(known.sum())


def _mask(x: Planes, y: Planes) -> NDArray[np.bool_] | None:
    """Say which pixels are valid in both, None if all are; the others become 0."""
    valid: NDArray[np.bool_] = np.isfinite(x) & np.isfinite(y)
    if valid.all():
        return None
    x[~valid] = 0
    y[~valid] = 0
    return valid


def _sums(x: Planes, y: Planes, valid: NDArray[np.bool_] | None) -> Planes:
    """Return number, x, y, x x, y y and x y, shape (6, band)."""
    count = np.full(len(x), float(x[0].size)) if valid is None else valid.sum((1, 2)).astype(np.float64)
    squares = [np.einsum("byx,byx->b", a, b) for a, b in ((x, x), (y, y), (x, y))]
    return np.stack([count, x.sum((1, 2)), y.sum((1, 2)), *squares])


def _edges(x: Planes, y: Planes, valid: NDArray[np.bool_] | None, inner: tuple[slice, slice]) -> Planes:
    """Return the sums of the Laplacians at the core's pixels whose neighbours all lie in the image."""
    part = (slice(None), *inner)
    a, b = laplacian(x[part]), laplacian(y[part])
    if valid is None:
        return _sums(a, b, None)
    kept = whole(valid[part])
    return _sums(a * kept, b * kept, kept)


def _inner(tile: Tile, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the padded tile's rows and columns that the core's Laplacians see."""
    return tile.core.grown(1).clipped(size).within(tile.padded).slices
