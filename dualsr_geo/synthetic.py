"""Made-up scenes that behave like real ones: materials, edges, texture, shade, mixed pixels.

Everything is a linear mixture of a few spectra, so degrading the abundances degrades the
scene exactly, and a scene of any number of bands costs no more than its abundances.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from rasterio.windows import Window as Pane
from scipy.ndimage import shift as move

from dualsr_geo import _merge_landscape, _merge_materials
from dualsr_geo.degradation.operators import DEFAULT_MTF_GAIN, Psf, blur_matrix

Array = NDArray[np.float32]

CRS = "EPSG:32633"
CORNER = (389000.0, 5820000.0)
# Pixels rendered around the scene, so that a moved guide has real content at its rim.
MARGIN_PX = 16
SCALE = 1e-4
NODATA = 65535


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
    around = _merge_landscape.abundances(size, np.random.default_rng(seed))
    spectra = _merge_materials.spectra(wavelengths_nm)
    inner = (slice(None), *(slice(MARGIN_PX, -MARGIN_PX),) * 2)
    abundances = np.ascontiguousarray(around[inner])
    sharp = _mixed(_merge_materials.guide_spectra(guide), around)
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


def geobox(sample: Sample) -> GeoBox:
    """Return the scene's grid, EPSG:32633."""
    corner = from_origin(*CORNER, sample.gsd_m, sample.gsd_m)
    return GeoBox(sample.abundances_lr.shape[1:], corner, CRS)


def as_dataarray(sample: Sample, which: str = "scene") -> xr.DataArray:
    """Return ``"scene"``, ``"guide"`` or ``"reference"`` as a georeferenced DataArray, reflectance."""
    import rioxarray  # noqa: F401, PLC0415  # registers .rio

    values: Array = getattr(sample, which)
    fine = 1 if which == "scene" else sample.ratio
    step = sample.gsd_m / fine
    coords: dict[str, Any] = {
        "band": np.arange(1, len(values) + 1),
        "y": CORNER[1] - step * (np.arange(values.shape[1]) + 0.5),
        "x": CORNER[0] + step * (np.arange(values.shape[2]) + 0.5),
    }
    if which != "guide":
        coords["wavelength"] = ("band", sample.wavelengths_nm, {"units": "nm"})
        coords["fwhm"] = ("band", sample.fwhm_nm, {"units": "nm"})
    array = xr.DataArray(values, dims=("band", "y", "x"), coords=coords, name="reflectance")
    placed: xr.DataArray = array.rio.write_crs(CRS).rio.write_transform(from_origin(*CORNER, step, step))
    return placed


def write(folder: str | Path, **wishes: Any) -> tuple[Path, Path]:
    """Write a scene and its guide as GeoTIFFs.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    **wishes
        As for `make`.

    Returns
    -------
    (Path, Path)
        ``scene.tif`` (uint16, scale 1e-4, wavelengths) and ``pan.tif`` or ``rgb.tif``.
    """
    sample = make(**wishes)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    scene = place / "scene.tif"
    guide = place / f"{wishes.get('guide', 'rgb')}.tif"
    _write_scene(scene, sample)
    _write_guide(guide, sample)
    return scene, guide


def _profile(count: int, shape: tuple[int, ...], gsd_m: float) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "count": count,
        "height": shape[0],
        "width": shape[1],
        "dtype": "uint16",
        "crs": CRS,
        "transform": from_origin(*CORNER, gsd_m, gsd_m),
        "nodata": NODATA,
        "compress": "deflate",
        "predictor": 2,
        "tiled": True,
        "interleave": "band",
        "photometric": "MINISBLACK",
    }


def _stored(values: Array) -> NDArray[np.uint16]:
    return np.asarray(np.clip(np.rint(values / SCALE), 0, NODATA - 1), np.uint16)


def _write_scene(path: Path, sample: Sample) -> None:
    height, width = sample.abundances_lr.shape[1:]
    count = len(sample.wavelengths_nm)
    with rasterio.open(path, "w", **_profile(count, (height, width), sample.gsd_m)) as target:
        for first in range(0, height, 256):
            last = min(first + 256, height)
            target.write(_stored(sample.scene_rows(first, last)), window=Pane(0, first, width, last - first))
        target.scales = (SCALE,) * count
        target.units = ("reflectance",) * count
        for i, (nm, fwhm) in enumerate(zip(sample.wavelengths_nm, sample.fwhm_nm, strict=True), 1):
            target.set_band_description(i, f"band {i} ({nm:.1f} nm)")
            target.update_tags(i, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{nm / 1000:.6g}", FWHM_UM=f"{fwhm / 1000:.4g}")
            target.update_tags(i, wavelength=f"{nm:.6g}", wavelength_units="nanometers", fwhm=f"{fwhm:.4g}")


def _write_guide(path: Path, sample: Sample) -> None:
    shape = sample.guide.shape[1:]
    profile = _profile(len(sample.guide), shape, sample.gsd_m / sample.ratio)
    with rasterio.open(path, "w", **profile) as target:
        target.write(_stored(sample.guide))
        target.scales = (SCALE,) * len(sample.guide)
