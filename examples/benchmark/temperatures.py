"""Simulated Landsat temperatures: real optical images, and a physical mixture of the temperatures of what they show.

A pixel of the target grid is a mixture of vegetation (Carlson and Ripley, Remote Sens. Environ. 62(3), 1997), water (an
index of green and short-wave infrared) and bare or built ground, whose temperature falls with moisture and albedo. What
no optical band shows is added: fields of one offset each (irrigation, crop, roof), a variation within each class, and a
smooth field as relief makes. Radiances at 10.9 um are mixed with emissivities and inverted to brightness temperatures,
in kelvin. The sensor blurs them by the optics, a detector as wide as the pixel, and noise, as TIRS does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import rasterio
from degradations import kernel_matrix
from numpy.typing import NDArray
from scenes import DATA, hdf5, tif
from scipy.io import netcdf_file
from scipy.ndimage import gaussian_filter
from skimage.segmentation import felzenszwalb

from dualsr_geo.degradation.psf import Psf

Floats = NDArray[np.float32]
Plane = NDArray[np.float64]

# Planck's constants for spectral radiance, um and K: W m-2 sr-1 um-1.
C1, C2 = 1.191042e8, 1.4387752e4
# Centre of TIRS's band 10, um.
WAVELENGTH_UM = 10.9
# Emissivities (Sobrino et al., IEEE Trans. Geosci. Remote Sens. 46(2), 2008).
VEGETATION_EMISSIVITY, GROUND_EMISSIVITY, WATER_EMISSIVITY = 0.985, 0.96, 0.991
# Temperatures on a clear morning, K; bare ground from wet and bright to dry and dark.
VEGETATION_K, WATER_K, WET_GROUND_K, DRY_GROUND_K = 298.0, 294.0, 302.0, 318.0
# Index of green and short-wave infrared at which a pixel is half water.
WATER_INDEX = 0.15
# Standard deviations of what no optical band shows, K: of fields, within classes, and of the smooth field.
FIELD_K, CLASS_K, SMOOTH_K = 1.0, 0.7, 1.5
# Widths of the variation within classes and of the smooth field, target pixels.
CLASS_WIDTH_PX, SMOOTH_WIDTH_PX = 1.5, 40.0
# TIRS: the optics' MTF at the Nyquist frequency of a pixel of 25 um at f/1.64 is 0.56; the detector is as wide as the pixel.
OPTICS_MTF = 0.56
# Noise-equivalent temperature differences, K.
NOISES_K = (0.1, 0.4)


@dataclass(frozen=True)
class Optical:
    """An optical image on the target grid.

    Attributes
    ----------
    bands : array, shape (band, y, x)
        Reflectances, or numbers in proportion.
    green, red, nir, swir : int
        Indices of the bands; without a short-wave infrared band `swir` is that of the near infrared.
    """

    bands: Floats
    green: int
    red: int
    nir: int
    swir: int

    def index(self, first: int, second: int) -> Plane:
        """Return the normalised difference of two bands, -1..1."""
        a, b = self.bands[[first, second]].astype(np.float64)
        return np.asarray((a - b) / np.maximum(a + b, 1e-6 * (a + b).max()))

    @property
    def ndvi(self) -> Plane:
        """Normalised difference vegetation index."""
        return self.index(self.nir, self.red)


@dataclass(frozen=True)
class Temperatures:
    """A simulated case.

    Attributes
    ----------
    truth : array, shape (1, y, x)
        Brightness temperature on the target grid, K.
    scene : array, shape (1, y / ratio, x / ratio)
        As the sensor measures it, K.
    optical : Optical
    ratio : int
    """

    truth: Floats
    scene: Floats
    optical: Optical
    ratio: int


def radiance(kelvin: Plane) -> Plane:
    """Return the spectral radiance of a black body at 10.9 um."""
    return np.asarray(C1 / (WAVELENGTH_UM**5 * np.expm1(C2 / (WAVELENGTH_UM * kelvin))))


def brightness_temperature(values: Plane) -> Plane:
    """Return the temperature of a black body of this radiance at 10.9 um, K."""
    return np.asarray(C2 / (WAVELENGTH_UM * np.log1p(C1 / (WAVELENGTH_UM**5 * values))))


def truth(optical: Optical, seed: int) -> Plane:
    """Return the brightness temperature of every pixel of an optical image, (y, x), K."""
    rng = np.random.default_rng(seed)
    shape = optical.bands.shape[1:]
    vegetation, water, ground = _fractions(optical)
    dry = DRY_GROUND_K - (DRY_GROUND_K - WET_GROUND_K) * _share(_brightness(optical) - 0.6 * _dryness(optical))
    hidden = _fields(optical, rng) + SMOOTH_K * _field(rng, shape, SMOOTH_WIDTH_PX)
    parts = (
        (vegetation, VEGETATION_EMISSIVITY, VEGETATION_K + hidden + CLASS_K * _field(rng, shape, CLASS_WIDTH_PX)),
        (ground, GROUND_EMISSIVITY, dry + hidden + CLASS_K * _field(rng, shape, CLASS_WIDTH_PX)),
        (water, WATER_EMISSIVITY, np.full(shape, WATER_K) + 0.3 * _field(rng, shape, SMOOTH_WIDTH_PX)),
    )
    return brightness_temperature(sum(share * e * radiance(kelvin) for share, e, kelvin in parts))


def _fractions(optical: Optical) -> tuple[Plane, Plane, Plane]:
    """Return the shares of vegetation, water and ground, 0..1."""
    low, high = np.percentile(optical.ndvi, (5, 98))
    vegetation = ((optical.ndvi - low) / (high - low)).clip(0, 1) ** 2
    wet = optical.index(optical.green, optical.swir)
    water = 1 / (1 + np.exp(-(wet - WATER_INDEX) / 0.05))
    return vegetation * (1 - water), water, (1 - vegetation) * (1 - water)


def _brightness(optical: Optical) -> Plane:
    return _share(optical.bands[[optical.green, optical.red]].mean(0).astype(np.float64))


def _dryness(optical: Optical) -> Plane:
    return _share(optical.index(optical.swir, optical.nir)) if optical.swir != optical.nir else _share(-optical.ndvi)


def _share(values: Plane) -> Plane:
    """Return values between their percentiles 2 and 98 as 0..1."""
    low, high = np.percentile(values, (2, 98))
    return np.asarray(((values - low) / max(high - low, 1e-12)).clip(0, 1))


def _field(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> Plane:
    """Return a smooth random field of unit variance."""
    field = gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def _fields(optical: Optical, rng: np.random.Generator) -> Plane:
    """Return an offset for each segment of the image: edges are where the optical bands have them, offsets are not."""
    look = np.stack(
        [_share(b.astype(np.float64)) for b in optical.bands[[optical.green, optical.red, optical.nir]]], -1
    )
    labels = felzenszwalb(look, scale=30, sigma=0.5, min_size=12)
    return np.asarray(FIELD_K * rng.standard_normal(labels.max() + 1)[labels])


def sensor_matrix(length: int, ratio: int) -> Plane:
    """Return the sensor's blur and sampling along an axis, (lr, hr): optics, and a detector as wide as the pixel."""
    sigma = math.sqrt(-2 * math.log(OPTICS_MTF)) / math.pi
    erf = np.vectorize(math.erf)

    def kernel(distance: Plane) -> Plane:
        edges = [(distance + side) / (sigma * math.sqrt(2)) for side in (0.5, -0.5)]
        return np.asarray(erf(edges[0]) - erf(edges[1]))

    return kernel_matrix(length, ratio, kernel, 2.0)


def sensor_psf(ratio: int) -> Psf:
    """Return the sensor's blur as the methods of others take it."""
    row = sensor_matrix(11 * ratio, ratio)[5]
    used = np.flatnonzero(row)
    taps = tuple(row[used[0] : used[-1] + 1].tolist())
    start = int(used[0]) - 5 * ratio
    return Psf(ratio, taps, taps, start, start)


def observed(kelvin: Plane, ratio: int, noise_k: float, seed: int) -> Plane:
    """Return what the sensor measures of temperatures (y, x), K."""
    rows, columns = (sensor_matrix(n, ratio) for n in kelvin.shape)
    low = brightness_temperature(rows @ radiance(kelvin) @ columns.T)
    return low + noise_k * np.random.default_rng(seed).standard_normal(low.shape)


def simulated(name: str, ratio: int, noise_k: float, seed: int = 0) -> Temperatures:
    """Return a case: an image of `IMAGES`, its temperatures, and what the sensor measures of them."""
    image = IMAGES[name]()
    height, width = (n // ratio * ratio for n in image.bands.shape[1:])
    optical = Optical(image.bands[:, :height, :width], image.green, image.red, image.nir, image.swir)
    kelvin = truth(image, seed)[:height, :width]
    scene = observed(kelvin, ratio, noise_k, seed + 1)
    return Temperatures(kelvin[None].astype(np.float32), scene[None].astype(np.float32), optical, ratio)


# ---- images ------------------------------------------------------------------------------


def _olinda() -> Optical:
    """Landsat 7, town, coast and forest: bands 1 to 5 and 7 at 28.5 m, 8 bits."""
    return Optical(tif("multispectral/stars_L7_ETMs.tif"), 1, 2, 3, 4)


def _navarra() -> Optical:
    """Landsat 8, fields and hills: R, G, B, NIR at 30 m."""
    return Optical(tif("real/navarra_l8_ms.tif"), 1, 0, 3, 3)


def _brandenburg() -> Optical:
    """Sentinel-2, fields and forest: B04, B03, B02, B08 averaged to 20 m, and the 20 m bands."""
    read = partial(hdf5, "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat")
    fine, coarse = read("im10"), read("im20")
    height, width = coarse.shape[1:]
    averaged = fine.reshape(len(fine), height, 2, width, 2).mean((2, 4))
    return Optical(np.concatenate([averaged, coarse]), 1, 0, 3, 8)


def _hills() -> Optical:
    """Sentinel-2: blue, green, red, near infrared, and two short-wave infrared bands."""
    names = ("blue", "green", "red", "nir", "swir1", "swir2")
    return Optical(np.stack([_nc(n) for n in names]), 1, 2, 3, 4)


def _nc(name: str) -> Floats:
    with netcdf_file(DATA / f"multispectral/xrspatial_s2_{name}.nc", mmap=False) as file:
        planes = (variable.data for variable in file.variables.values() if variable.data.ndim == 2)
        return np.array(next(planes), np.float32)


@dataclass(frozen=True)
class Delivery:
    """A Landsat delivery with a thermal band, and how its numbers become brightness temperatures.

    Attributes
    ----------
    folder, thermal : str
        Of the delivery, and the end of the name of the thermal band.
    optical : tuple of int
        Green, red, near infrared, short-wave infrared, and others.
    gain, offset : float
        Radiance of a number (its MTL file).
    k1, k2 : float
        Thermal constants (its MTL file).
    native_px : float
        Width of the detector's pixel on the 30 m grid of the delivery.
    """

    folder: str
    thermal: str
    optical: tuple[int, ...]
    gain: float
    offset: float
    k1: float
    k2: float
    native_px: float


# Landsat 7 is left out: the gaps of its scan lines leave the other methods no pixel.
DELIVERIES = {
    "LC08 B10": Delivery("LC08", "B10", (3, 4, 5, 6, 2, 7), 3.3420e-4, 0.1, 774.8853, 1321.0789, 100 / 30),
    "LT05 B6": Delivery("LT05", "B6", (2, 3, 4, 5, 1, 7), 0.055375, 1.18243, 607.76, 1260.56, 4.0),
}


def measured(name: str, ratio: int) -> Temperatures:
    """Return a real thermal band one level down (Wald et al., 1997): the band as delivered is the truth.

    The providers interpolate it to 30 m, so that it has no detail below the detector's pixel; the optical bands are
    blurred to that.
    """
    one = DELIVERIES[name]
    folder = DATA / "real/products/landsat_C1L1_ethiopia" / one.folder
    numbers = _band(folder, one.thermal)
    height, width = (n // ratio * ratio for n in numbers.shape)
    kelvin = (one.k2 / np.log(one.k1 / (one.gain * numbers + one.offset) + 1))[:height, :width]
    sigma = one.native_px * math.hypot(math.sqrt(1 / 12), math.sqrt(-2 * math.log(OPTICS_MTF)) / math.pi)
    blurred = [gaussian_filter(_band(folder, f"B{b}"), sigma, mode="nearest") for b in one.optical]
    optical = Optical(np.stack(blurred)[:, :height, :width].astype(np.float32), 0, 1, 2, 3)
    scene = observed(kelvin, ratio, 0.0, 0)
    return Temperatures(kelvin[None].astype(np.float32), scene[None].astype(np.float32), optical, ratio)


def _band(folder: Path, name: str) -> Plane:
    with rasterio.open(next(folder.glob(f"*_{name}.TIF"))) as file:
        return np.asarray(file.read(1), np.float64)


IMAGES: dict[str, Callable[[], Optical]] = {
    "olinda": lru_cache(_olinda),
    "navarra": lru_cache(_navarra),
    "brandenburg": lru_cache(_brandenburg),
    "s2-hills": lru_cache(_hills),
}
