"""Synthetic scenes with their guides and references, as linear mixtures of a few spectra.

Degrading the abundances therefore degrades the scene exactly, and the memory of a sample does not grow
with its number of bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from scipy.ndimage import shift as shift_image

from dualsr_geo.argument_types import checked, integer, number, text, two_integers, wrong
from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.errors import OptionError
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster import grid
from dualsr_geo.synthetic.landscape import ground_abundances
from dualsr_geo.synthetic.materials import guide_spectra, material_spectra

Array = NDArray[np.float32]

CRS = "EPSG:32633"
# Easting and northing of the upper left corner, m.
CORNER = (389000.0, 5820000.0)
# Pixels rendered around the scene, so that a shifted guide has real content at its edge.
MARGIN_PX = 16
# FWHM of a band over the distance of its neighbours; of a single band that distance is assumed.
FWHM_PER_SPACING = 1.2
SINGLE_BAND_SPACING_NM = 50.0
# Memory for a pixel of the hr grid: four float32 planes for each of twelve materials.
BYTES_PER_PX = 192


@dataclass(frozen=True)
class Sample:
    """A synthetic scene with its guide and its reference.

    Attributes
    ----------
    abundances : array, shape (material, ratio * y, ratio * x)
        On the hr grid; owing to shade and texture their sum is only about 1.
    abundances_lr : array, shape (material, y, x)
        The same, degraded to the lr grid.
    spectra : array, shape (material, band)
        Reflectance, 0..1.
    guide : array, shape (guide band, ratio * y, ratio * x)
        Reflectance.
    wavelengths_nm, fwhm_nm : array, shape (band,)
    ratio : int
    gsd_m : float
        Pixel size of the scene.
    noise : float
        Standard deviation of the noise of the scene, reflectance.
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
        """The scene without blur and noise on the hr grid, reflectance, shape (band, ratio * y, ratio * x)."""
        return _mixed(self.spectra, self.abundances)

    @property
    def scene(self) -> Array:
        """The observed scene, reflectance, shape (band, y, x)."""
        return self.scene_rows(0, self.abundances_lr.shape[1])

    def scene_rows(self, first: int, last: int) -> Array:
        """Return rows of the observed scene; the noise does not depend on which rows are read together."""
        values = _mixed(self.spectra, self.abundances_lr[:, first:last])
        if self.noise:
            for row in range(first, last):
                noise = np.random.default_rng((self.seed, row)).normal(0, self.noise, values[:, row - first].shape)
                values[:, row - first] += noise.astype(np.float32)
        return values


def _mixed(spectra: Array, abundances: Array) -> Array:
    pixels = spectra.T @ abundances.reshape(len(abundances), -1)
    return np.asarray(pixels.reshape(-1, *abundances.shape[1:]), np.float32)


@reports_defects
@checked(
    shape=two_integers,
    ratio=integer,
    bands=integer,
    guide=text,
    seed=integer,
    noise=number,
    mtf_gain=number,
    gsd_m=number,
)
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
    """Make a synthetic scene of fields, roads, roofs, trees and a river.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    ratio : int
        GSD lr / GSD hr.
    bands : int
        Bands of the scene, evenly spaced from 400 to 1000 nm, or to 2450 nm if there are more than 60.
    guide : str
        ``"rgb"`` or ``"pan"``.
    seed : int
        The same seed gives the same scene.
    noise : float
        Standard deviation of white noise on the scene, reflectance.
    mtf_gain : float
        MTF gain of the scene at its Nyquist frequency.
    shift_px : (float, float)
        Displacement of the guide's content down and right, hr pixels.
    wavelengths_nm : array, shape (band,), optional
        Instead of `bands`.
    gsd_m : float
        Pixel size of the scene.

    Raises
    ------
    OptionError
        If a value is out of range, or the sample would not fit into the memory of the machine.
    """
    _require_options(shape, ratio, bands, guide, seed)
    _require_values(noise, gsd_m, shift_px)
    wavelengths_nm = None if wavelengths_nm is None else _wavelengths(wavelengths_nm)
    if wavelengths_nm is None:
        wavelengths_nm = np.linspace(400.0, 1000.0 if bands <= 60 else 2450.0, bands)
    size = (shape[0] * ratio + 2 * MARGIN_PX, shape[1] * ratio + 2 * MARGIN_PX)
    with_margin = ground_abundances(size, np.random.default_rng(seed))
    spectra = material_spectra(wavelengths_nm)
    inner = (slice(None), *(slice(MARGIN_PX, -MARGIN_PX),) * 2)
    abundances = np.ascontiguousarray(with_margin[inner])
    guide_image = _mixed(guide_spectra(guide), with_margin)
    if shift_px != (0.0, 0.0):
        guide_image = np.stack([shift_image(band, shift_px, order=5, mode="nearest") for band in guide_image])
    lr = degrade(abundances, Psf.from_mtf(ratio, mtf_gain), shape)
    spacing = np.gradient(wavelengths_nm) if len(wavelengths_nm) > 1 else np.array([SINGLE_BAND_SPACING_NM])
    return Sample(
        abundances,
        lr,
        spectra,
        np.ascontiguousarray(guide_image[inner]),
        wavelengths_nm,
        FWHM_PER_SPACING * spacing,
        ratio,
        gsd_m,
        noise,
        seed,
    )


def _require_options(shape: tuple[int, int], ratio: int, bands: int, guide: str, seed: int) -> None:
    if guide not in ("rgb", "pan"):
        raise OptionError(f"--guide {guide} is not known. Give rgb or pan.")
    if min(shape) < 1 or ratio < 1 or bands < 1:
        raise OptionError(
            f"A sample of {shape[0]} x {shape[1]} pixels, {bands} bands and ratio {ratio} is empty. Give 1 or more of each."
        )
    if seed < 0:
        raise OptionError(f"--seed {seed} is negative. Give 0 or more.")
    needed = BYTES_PER_PX * (shape[0] * ratio + 2 * MARGIN_PX) * (shape[1] * ratio + 2 * MARGIN_PX)
    memory = psutil.virtual_memory().total
    if needed > memory:
        raise OptionError(
            f"A sample of {shape[0]} x {shape[1]} pixels at ratio {ratio} takes about {needed / 2**30:.0f} GiB of memory, and "
            f"this machine has {memory / 2**30:.0f} GiB. Give a smaller --size or --scale."
        )


def _require_values(noise: float, gsd_m: float, shift_px: tuple[float, float]) -> None:
    if not 0 <= noise < math.inf:
        raise OptionError(f"`noise` is {noise:g}. Give a standard deviation of 0 or more.")
    if not 0 < gsd_m < math.inf:
        raise OptionError(f"`gsd_m` is {gsd_m:g}. Give a pixel size above 0, in metres.")
    try:
        is_pair = len(shift_px) == 2 and all(math.isfinite(v) for v in shift_px)
    except (TypeError, ValueError):
        is_pair = False
    if not is_pair:
        raise wrong("shift_px", shift_px, "two finite numbers, pixels")


def _wavelengths(values: Any) -> NDArray[np.float64]:
    """Return wavelengths as an array; raises KeywordError where they are none."""
    try:
        wavelengths = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        wavelengths = np.empty(0)
    if wavelengths.ndim != 1 or not wavelengths.size or not np.isfinite(wavelengths).all():
        raise wrong("wavelengths_nm", values, "a list of wavelengths, in nanometres")
    return wavelengths


def degrade(abundances: Array, psf: Psf, shape: tuple[int, int]) -> Array:
    """Degrade abundances, shape (material, ratio * y, ratio * x), to the lr grid of `shape`."""
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
