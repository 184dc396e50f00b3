"""Made-up scenes that behave like real ones: materials, edges, texture, shade, mixed pixels.

Everything is a linear mixture of a few spectra, so degrading the abundances degrades the
scene exactly, and a scene of any number of bands costs no more than its abundances.
"""

from __future__ import annotations

from collections.abc import Callable
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
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as move

from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf

Array = NDArray[np.float32]
PAN_NM = (450.0, 800.0)
RGB_NM = ((650.0, 80.0), (550.0, 80.0), (460.0, 70.0))


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


def _texture(size: tuple[int, int], rng: np.random.Generator, widths: tuple[float, ...]) -> Array:
    """Return noise with equal strength at several scales (px), zero mean, unit variance."""
    total = np.zeros(size, np.float32)
    for width in widths:
        plane = gaussian_filter(rng.standard_normal(size, dtype=np.float32), width)
        total += plane / plane.std()
    return np.asarray(total / total.std(), np.float32)


def ground_abundances(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Paint the ground, shape (material, y, x); later layers cover earlier ones."""
    names = list(MATERIALS)
    cover = _fields(size, rng)
    for paint in (_trees, _river, _roads, _roofs):
        paint(cover, rng)
    planes = np.stack([np.asarray(cover == i, np.float32) for i in range(len(names))])
    # Edges are never sharper than the optics that saw them.
    planes = np.stack([gaussian_filter(p, 0.6) for p in planes])
    planes *= 1 + 0.10 * _texture(size, rng, (0.8, 2.0, 6.0)) + 0.05 * _texture(size, rng, (20.0,))
    green = planes[: names.index("asphalt")].sum(0)
    planes[names.index("moisture")] = green * 0.2 * _texture(size, rng, (1.0, 5.0, 25.0))
    planes[names.index("pigment")] = green * 0.3 * _texture(size, rng, (1.0, 8.0))
    planes *= _shade(cover, names)
    return planes


def _fields(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int8]:
    """Cut the ground into tilted parcels of crop, meadow, soil and straw."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    tilt = rng.uniform(0.15, 0.5)
    u, v = y * np.cos(tilt) + x * np.sin(tilt), x * np.cos(tilt) - y * np.sin(tilt)
    wide, long = rng.uniform(26, 34), rng.uniform(55, 75)
    column = np.floor(v / wide).astype(int)
    row = np.floor((u + 23.0 * (column % 3)) / long).astype(int)
    kinds = rng.choice(5, size=(97, 89), p=[0.3, 0.25, 0.05, 0.25, 0.15])
    return np.asarray(kinds[row % 97, column % 89], np.int8)


def _put(cover: NDArray[np.int8], where: NDArray[np.bool_], name: str) -> None:
    cover[where] = list(MATERIALS).index(name)


def _river(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    middle = 0.72 * cover.shape[1] + 18 * np.sin(y / 47 + rng.uniform(0, 6)) + 0.12 * y
    _put(cover, np.abs(x - middle) < 15, "trees")
    _put(cover, np.abs(x - middle) < 10, "water")


def _roads(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    for _ in range(2 + cover.size // 200_000):
        angle, at = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9, 2) * cover.shape
        distance = (x - at[1]) * np.sin(angle) - (y - at[0]) * np.cos(angle)
        _put(cover, np.abs(distance) < rng.uniform(2.0, 4.5), "asphalt")


def _roofs(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    villages = rng.uniform(0.1, 0.6, (1 + cover.size // 120_000, 2)) * cover.shape
    for village in villages:
        for _ in range(26):
            at = village + rng.normal(0, 30, 2)
            kind = ("red roof", "red roof", "concrete", "blue roof")[rng.integers(4)]
            _box(cover, at, rng.uniform(4, 9, 2), rng.uniform(0, 0.5), kind)


def _box(cover: NDArray[np.int8], at: NDArray[np.float64], half: NDArray[np.float64], turn: float, kind: str) -> None:
    reach = int(np.ceil(np.hypot(*half))) + 1
    y0, x0 = (max(0, int(c) - reach) for c in at)
    part = cover[y0 : max(y0, int(at[0]) + reach), x0 : max(x0, int(at[1]) + reach)]
    y, x = np.mgrid[: part.shape[0], : part.shape[1]]
    dy, dx = y + y0 - at[0], x + x0 - at[1]
    inside = (np.abs(dy * np.cos(turn) + dx * np.sin(turn)) < half[0]) & (
        np.abs(dx * np.cos(turn) - dy * np.sin(turn)) < half[1]
    )
    _put(part, inside, kind)


def _trees(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    for _ in range(cover.size // 900):
        at, radius = rng.uniform(0, 1, 2) * cover.shape, rng.uniform(1.5, 4.5)
        reach = int(radius) + 1
        y0, x0 = (max(0, int(c) - reach) for c in at)
        part = cover[y0 : int(at[0]) + reach + 1, x0 : int(at[1]) + reach + 1]
        y, x = np.mgrid[: part.shape[0], : part.shape[1]]
        _put(part, (y + y0 - at[0]) ** 2 + (x + x0 - at[1]) ** 2 < radius**2, "trees")


def _shade(cover: NDArray[np.int8], names: list[str]) -> Array:
    """Return 1 in the sun, less where a roof or a tree stands to the south-east."""
    height = np.zeros(cover.shape, np.float32)
    for name, value in (("red roof", 3.0), ("concrete", 2.0), ("blue roof", 4.0), ("trees", 2.0)):
        height[cover == names.index(name)] = value
    shadow = np.zeros_like(height)
    for step in (1, 2, 3):
        cast = np.zeros_like(height)
        cast[:-step, :-step] = height[step:, step:]
        shadow = np.maximum(shadow, (cast > height + step - 1).astype(np.float32))
    return np.asarray(1 - 0.55 * gaussian_filter(shadow, 0.7), np.float32)


def _bump(nm: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((nm - centre) / width) ** 2)


def _step(nm: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-(nm - centre) / width))


def _water_bands(nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return absorption by liquid water in leaves and soil, 0..1."""
    return (
        0.15 * _bump(nm, 970, 35) + 0.25 * _bump(nm, 1200, 50) + 0.7 * _bump(nm, 1450, 70) + 0.75 * _bump(nm, 1940, 80)
    )


def _leaf(nm: NDArray[np.float64], green: float, infrared: float) -> NDArray[np.float64]:
    visible = 0.03 + green * _bump(nm, 550, 35) - 0.015 * _bump(nm, 670, 25)
    plateau = infrared * _step(nm, 718, 13) * (1 - 0.35 * _step(nm, 1500, 200))
    return (visible * (1 - _step(nm, 718, 13)) + plateau) * (1 - _water_bands(nm))


def _soil(nm: NDArray[np.float64], level: float, iron: float) -> NDArray[np.float64]:
    rising = level * (0.35 + 0.65 * (1 - np.exp(-(nm - 380) / 600)))
    return rising * (1 - iron * _bump(nm, 870, 90) - 0.3 * iron * _bump(nm, 500, 60)) * (1 - 0.5 * _water_bands(nm))


def material_spectra(nm: NDArray[np.float64]) -> Array:
    """Return the reflectance of every material, shape (material, band)."""
    return np.stack([s(nm) for s in MATERIALS.values()]).astype(np.float32)


def guide_spectra(kind: str) -> Array:
    """Return the materials as the guide's bands see them, shape (material, guide band)."""
    nm = np.arange(400.0, 1000.0, 5.0)
    if kind == "pan":
        responses = [_step(nm, PAN_NM[0], 8) * (1 - _step(nm, PAN_NM[1], 8))]
    else:
        responses = [_bump(nm, centre, width / 2.355) for centre, width in RGB_NM]
    weights = np.stack([r / r.sum() for r in responses], 1)
    return np.asarray(material_spectra(nm) @ weights, np.float32)


MATERIALS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "crop": lambda nm: _leaf(nm, 0.09, 0.52),
    "meadow": lambda nm: _leaf(nm, 0.06, 0.38) + 0.02,
    "trees": lambda nm: 0.7 * _leaf(nm, 0.045, 0.42),
    "bare soil": lambda nm: _soil(nm, 0.34, 0.12),
    "dry straw": lambda nm: 0.12 + 0.33 * _step(nm, 600, 90) - 0.06 * _bump(nm, 2100, 60),
    "asphalt": lambda nm: 0.07 + 0.04 * (nm - 400) / 2050,
    "concrete": lambda nm: 0.24 + 0.12 * (1 - np.exp(-(nm - 400) / 250)) - 0.03 * _bump(nm, 2330, 50),
    "red roof": lambda nm: 0.05 + 0.30 * _step(nm, 585, 16) - 0.05 * _bump(nm, 870, 80),
    "blue roof": lambda nm: 0.10 + 0.20 * _bump(nm, 465, 45) + 0.22 * _step(nm, 760, 30),
    "water": lambda nm: 0.045 * _bump(nm, 520, 110) + 0.006,
    # Differences within a material: moisture, pigment.
    "moisture": lambda nm: -0.05 * _water_bands(nm) - 0.01,
    "pigment": lambda nm: 0.03 * _bump(nm, 600, 50) - 0.02 * _bump(nm, 680, 20),
}
