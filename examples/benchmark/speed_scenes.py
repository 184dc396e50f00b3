"""Scenes for the measurement of speed: real spectra and textures, mirrored to the requested size.

A reference of `scenes.py` is degraded by the ratio, its guide is formed, both are mirrored side by side until they have the
size, and both are written as tiled GeoTIFFs of 16 bits, as a provider delivers them. The spectra have as many
components above rounding as real ones have, which decides the cost; scenes of few components are several times faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import scenes
from degradations import degraded
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

# The reference of each number of bands; 128 and 224 bands are of two airborne and satellite scenes of full spectra.
SOURCES = {4: "sn6", 8: "wv2", 31: "sponges", 128: "sandiego", 218: "enmap"}
# Pixel size of the scene, m, and where it is placed.
GSD_M, EAST, NORTH, CRS = 8.0, 399960.0, 5800020.0, "EPSG:32633"
# The largest value of a scene; sensors of 12 bits leave about this much.
PEAK = 4000
# Rows that are written at once.
STRIP_PX = 512


@dataclass(frozen=True)
class Pair:
    """A scene and its guide on disk.

    Attributes
    ----------
    scene, guide : Path
    bands : int
    shape : tuple of int
        Rows and columns of the scene.
    ratio : int
    """

    scene: Path
    guide: Path
    bands: int
    shape: tuple[int, int]
    ratio: int

    @property
    def pixels(self) -> int:
        """Pixels of the product, of one band."""
        return self.shape[0] * self.shape[1] * self.ratio**2


def write_pair(folder: Path, bands: int, kind: str, megapixels: float, ratio: int = 4) -> Pair:
    """Write a scene whose product has `megapixels`, and its guide.

    Parameters
    ----------
    folder : Path
    bands : int
        A key of `SOURCES`.
    kind : str
        ``"pan"`` or ``"rgb"``. The four and eight bands have their own pan.
    megapixels : float
        Of the product, millions of pixels of one band.
    ratio : int
    """
    scene, guide = _arrays(bands, kind, ratio)
    side = max(1, math.isqrt(round(megapixels * 1e6)) // ratio)
    pair = Pair(folder / "scene.tif", folder / "guide.tif", len(scene), (side, side), ratio)
    _write(pair.scene, scene, (side, side), GSD_M)
    _write(pair.guide, guide, (side * ratio, side * ratio), GSD_M / ratio)
    return pair


def _arrays(bands: int, kind: str, ratio: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the degraded reference and the guide, in counts."""
    reference = scenes.cut(scenes.load(SOURCES[bands]), ratio)
    own = kind == "pan" and reference.guide is not None
    guide = scenes.guide(reference, "own" if own else kind)
    scene = degraded(reference.cube[:bands], ratio, reference.gains[0])
    assert guide is not None
    return _counts(scene), _counts(guide)


def _counts(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.round(np.clip(values / values.max(), 0, None) * PEAK).astype(np.uint16)


def _write(path: Path, cube: NDArray[np.uint16], shape: tuple[int, int], gsd_m: float) -> None:
    """Write a cube mirrored to a shape, strip by strip."""
    height, width = shape
    columns = _mirrored(cube.shape[2], width)
    rows = _mirrored(cube.shape[1], height)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(cube), height=height, width=width, dtype="uint16", crs=CRS, tiled=True,
        transform=from_origin(EAST, NORTH, gsd_m, gsd_m), compress="zstd", predictor=2, zstd_level=1,
        interleave="band", bigtiff="if_safer",
    ) as target:  # fmt: skip
        for first in range(0, height, STRIP_PX):
            strip = cube[:, rows[first : first + STRIP_PX]][:, :, columns]
            target.write(strip, window=Window(0, first, width, strip.shape[1]))


def _mirrored(length: int, wanted: int) -> NDArray[np.intp]:
    """Return the positions 0, 1, ..., length-1, length-1, ..., 1, 0, 0, 1, ... as many as wanted."""
    period = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    return period[np.arange(wanted) % (2 * length)]
