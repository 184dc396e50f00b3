"""Synthetic scenes, their guides and the truth, as linear mixtures of a few spectra.

Degrading the abundances therefore degrades the scene exactly, and a scene of any number of bands
costs no more than its abundances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from scipy.ndimage import shift as move

from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.raster import grid
from dualsr_geo.synthetic.landscape import ground_abundances
from dualsr_geo.synthetic.materials import guide_spectra, material_spectra

Array = NDArray[np.float32]

CRS = "EPSG:32633"
CORNER = (389000.0, 5820000.0)
# Pixels rendered around the scene, so that a shifted guide has real content at its edge.
MARGIN_PX = 16


@dataclass(frozen=True)
class Sample:
    """A scene, its guide, and the truth.

    Attributes
    ----------
    abundances : array, shape (material, ratio * y, ratio * x)
        On the hr grid; shade and texture make them sum to about, not exactly, 1.
    abundances_lr : array, shape (material, y, x)
        Degraded.
    spectra : array, shape (material, band)
        Reflectance, 0..1.
    guide : array, shape (guide band, ratio * y, ratio * x)
        Reflectance.
    wavelengths_nm, fwhm_nm : array, shape (band,)
    ratio : int
    gsd_m : float
        Of the scene.
    noise : float
        Standard deviation added to the scene, reflectance.
    seed : int
    """

    abundances: Array
    abundances_lr: Array
    spectra: Array
    guide: Array
    wavelengths_nm: NDArray[np.float64]
    fwhm_nm: NDArray[np.float64]
    ratio: int
    gsd_m: float
    noise: float
    seed: int

    @property
    def reference(self) -> Array:
        """The truth, reflectance, shape (band, ratio * y, ratio * x)."""
        return _mixed(self.spectra, self.abundances)

    @property
    def scene(self) -> Array:
        """What the sensor sees, reflectance, shape (band, y, x)."""
        return self.scene_rows(0, self.abundances_lr.shape[1])

    def scene_rows(self, first: int, last: int) -> Array:
        """Return some rows of the scene, noise included."""
        values = _mixed(self.spectra, self.abundances_lr[:, first:last])
        if self.noise:
            for row in range(first, last):
                draw = np.random.default_rng((self.seed, row)).normal(0, self.noise, values[:, row - first].shape)
                values[:, row - first] += draw.astype(np.float32)
        return values


def _mixed(spectra: Array, abundances: Array) -> Array:
    flat = spectra.T @ abundances.reshape(len(abundances), -1)
    return np.asarray(flat.reshape(-1, *abundances.shape[1:]), np.float32)


def make(
    shape: tuple[int, int] = (61, 97),
    *,
    ratio: int = 4,
    bands: int = 31,
    guide: str = "rgb",
    seed: int = 0,
    noise: float = 0.0,
    mtf_gain: float = DEFAULT_MTF_GAIN,
    shift_px: tuple[float, float] = (0.0, 0.0),
    wavelengths_nm: NDArray[np.float64] | None = None,
    gsd_m: float = 8.0,
) -> Sample:
    """Make a scene of fields, roads, roofs, trees and a river.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    ratio : int
        GSD lr / GSD hr.
    bands : int
        Bands of the scene, spread evenly over 400 to 1000 nm, or to 2450 nm above 60.
    guide : str
        ``"rgb"`` or ``"pan"``.
    seed : int
        The same seed gives the same scene.
    noise : float
        Standard deviation of white noise on the scene, reflectance.
    mtf_gain : float
        The scene's MTF gain at its Nyquist frequency.
    shift_px : (float, float)
        How far the guide's content lies below and right of the scene's, hr pixels.
    wavelengths_nm : array, shape (band,), optional
        Instead of `bands`.
    gsd_m : float
        Pixel side of the scene.
    """
    if wavelengths_nm is None:
        wavelengths_nm = np.linspace(400.0, 1000.0 if bands <= 60 else 2450.0, bands)
    size = (shape[0] * ratio + 2 * MARGIN_PX, shape[1] * ratio + 2 * MARGIN_PX)
    around = ground_abundances(size, np.random.default_rng(seed))
    spectra = material_spectra(wavelengths_nm)
    inner = (slice(None), *(slice(MARGIN_PX, -MARGIN_PX),) * 2)
    abundances = np.ascontiguousarray(around[inner])
    sharp = _mixed(guide_spectra(guide), around)
    if shift_px != (0.0, 0.0):
        sharp = np.stack([move(band, shift_px, order=5, mode="nearest") for band in sharp])
    lr = degrade(abundances, Psf.from_mtf(ratio, mtf_gain), shape)
    spacing = np.gradient(wavelengths_nm) if len(wavelengths_nm) > 1 else np.array([50.0])
    return Sample(
        abundances,
        lr,
        spectra,
        np.ascontiguousarray(sharp[inner]),
        wavelengths_nm,
        1.2 * spacing,
        ratio,
        gsd_m,
        noise,
        seed,
    )


def degrade(abundances: Array, psf: Psf, shape: tuple[int, int]) -> Array:
    """Degrade abundances (material, ratio * y, ratio * x) to the lr grid of `shape`."""
    by = blur_matrix(psf.taps_y, psf.start_y, psf.ratio, shape[0], 0, shape[0]).astype(np.float32)
    bx = blur_matrix(psf.taps_x, psf.start_x, psf.ratio, shape[1], 0, shape[1]).astype(np.float32)
    return np.stack([by @ (plane @ bx.T) for plane in abundances])


def as_dataarray(sample: Sample, which: str = "scene") -> xr.DataArray:
    """Return ``"scene"``, ``"guide"`` or ``"reference"`` as a georeferenced DataArray, reflectance."""
    import rioxarray  # noqa: F401, PLC0415  # registers .rio

    values: Array = getattr(sample, which)
    step = sample.gsd_m / (1 if which == "scene" else sample.ratio)
    box = GeoBox(values.shape[1:], from_origin(*CORNER, step, step), CRS)
    y, x = grid.pixel_centres(box)
    coords: dict[str, Any] = {"band": np.arange(1, len(values) + 1), "y": y, "x": x}
    if which != "guide":
        coords["wavelength"] = ("band", sample.wavelengths_nm, {"units": "nm"})
        coords["fwhm"] = ("band", sample.fwhm_nm, {"units": "nm"})
    array = xr.DataArray(values, dims=("band", "y", "x"), coords=coords, name="reflectance")
    referenced: xr.DataArray = array.rio.write_crs(CRS).rio.write_transform(box.affine)
    return referenced
