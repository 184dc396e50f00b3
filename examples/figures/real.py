"""Draw real scenes before and after sharpening: the pictures of the README, the tutorial and docs/gallery.md.

Run: python examples/figures/real.py docs/images/real [PICTURE ...]
It reads ../shared/data, which is not part of the repository. The same data for everybody:

* Sentinel-2A, L1C, 2017-05-27, tile T33UUB: https://browser.dataspace.copernicus.eu; the crop is test data of
  https://github.com/lanha/DSen2. Contains modified Copernicus Sentinel data 2017 (free, full and open licence).
* Landsat 8 of Pamplona, and Landsat 7 of path 167, row 55, 2017-03-16: https://earthexplorer.usgs.gov. Landsat data
  courtesy of the U.S. Geological Survey, public domain.
* EnMAP, L2A, Potsdam, 2022-07-24: https://www.enmap.org; the crop is example data of the EnMAP-Box. EnMAP data (c) DLR 2022.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import matplotlib as mpl
import numpy as np
import rasterio
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from panels import DPI, INK, TITLE_PX, Panel, board, holed, save

import dualsr_geo  # noqa: F401  # registers .dualsr
from dualsr_geo.errors import DualSRWarning
from dualsr_geo.evaluation import metrics

Array = NDArray[np.float32]
# A crop of the target grid, rows and columns.
Crop = tuple[slice, slice]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SENTINEL = "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat"
LANDSAT_8 = ("real/navarra_l8_ms.tif", "real/navarra_l8_pan.tif")
LANDSAT_7 = "real/products/landsat_C1L1_ethiopia/LE07/LE07_L1TP_167055_20170316_20170411_01_T1_B{}.TIF"
ENMAP = "hyperspectral/enmap_potsdam_NW_64x96.tif"
# Percentiles of what is drawn black and white, and the exponent in between.
STRETCH, GAMMA = (1, 99.5), 0.8
# B12, B8A, B05 of the six 20 m bands; B04, B03, B02 of the 10 m bands; B05, B04, B03 of Landsat 7.
SWIR, NATURAL, INFRARED = (5, 3, 0), (0, 1, 2), (4, 3, 2)
# Size of a panel, pixels of the target grid.
SMALL, LARGE, WIDE = (80, 84), (90, 110), (180, 220)
# Corner of a bright roof in the picture of a displaced guide, rows and columns.
CROSS = (23, 42)
BLUE, ORANGE = "#0072b2", "#e69f00"
PLOT_PX, FOOT_PX = 300, 56
INFRARED_NM, VAPOUR_NM = 860.0, ((1110.0, 1150.0), (1330.0, 1460.0), (1780.0, 1980.0))


# ---- scenes ------------------------------------------------------------------------------


def located(cube: Array, gsd: float) -> xr.DataArray:
    """Return a cube (band, y, x) with coordinates, north up."""
    y, x = ((np.arange(n) + 0.5) * gsd for n in cube.shape[1:])
    return xr.DataArray(np.asarray(cube, np.float32), dims=("band", "y", "x"), coords={"y": -y, "x": x})


@lru_cache
def sentinel(key: str) -> Array:
    """Return bands of Sentinel-2: im10, im20 or im60. MATLAB 7.3 stores columns before rows."""
    with h5py.File(DATA / SENTINEL) as file:
        return np.asarray(file[key], np.float32).transpose(0, 2, 1)


def tif(path: str) -> Array:
    """Read a raster, NaN for nodata."""
    with rasterio.open(DATA / path) as file:
        return np.asarray(file.read(masked=True).astype(np.float32).filled(np.nan))


def product(scene: xr.DataArray, **options: Any) -> Array:
    """Sharpen a scene."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        return np.asarray(scene.dualsr.upscale(**options).compute(scheduler="single-threaded"))


def degraded(cube: Array, gsd: float, ratio: int) -> xr.DataArray:
    """Return a cube as a sensor with pixels `ratio` times as large would see it."""
    return located(np.asarray(located(cube, gsd).dualsr.degrade(scale=ratio)), gsd * ratio)


def repeated(cube: Array, ratio: int) -> Array:
    """Repeat pixels, so that a scene has as many as its product."""
    return cube.repeat(ratio, 1).repeat(ratio, 2)


# ---- panels ------------------------------------------------------------------------------


def crop(top: int, left: int, shape: tuple[int, int]) -> Crop:
    """Return a crop of a panel's size."""
    return slice(top, top + shape[0]), slice(left, left + shape[1])


def limits(cube: Array, bands: Sequence[int], part: Crop) -> tuple[Array, Array]:
    """Return what is drawn black and white of each band."""
    low, high = np.nanpercentile(cube[list(bands)][:, part[0], part[1]], STRETCH, axis=(1, 2))[:, :, None, None]
    return low, high


def picture(cube: Array, bands: Sequence[int], part: Crop, stretch: tuple[Array, Array]) -> Array:
    """Return a crop as a picture (y, x, 3), purple where there is nothing."""
    values = cube[list(bands)][:, part[0], part[1]]
    shown = np.clip((values - stretch[0]) / (stretch[1] - stretch[0]), 0, 1) ** GAMMA
    if len(shown) == 1:
        shown = shown.repeat(3, 0)
    return holed(np.nan_to_num(shown).transpose(1, 2, 0), np.isnan(values).any(0))


def panels(cubes: dict[str, Array], bands: Sequence[int], part: Crop) -> list[Panel]:
    """Return crops of cubes of the same grid and bands, with the stretch of the last one."""
    stretch = limits(list(cubes.values())[-1], bands, part)
    return [(title, picture(cube, bands, part, stretch)) for title, cube in cubes.items()]


def own(title: str, cube: Array, bands: Sequence[int], part: Crop) -> Panel:
    """Return a crop with a stretch of its own: a guide."""
    return title, picture(cube, bands, part, limits(cube, bands, part))


def decibels(result: Array, truth: Array) -> str:
    """Return the PSNR over all bands, peak the largest value of the truth, in words."""
    return f"{metrics.psnr(result, truth, peak=float(np.nanmax(truth))):.1f} dB"


# ---- pictures ----------------------------------------------------------------------------


def landsat() -> Figure:
    """Draw Landsat 8, 30 m, by its pan band of 15 m: the picture of the README."""
    ms, pan = (tif(path) for path in LANDSAT_8)
    pan = np.pad(pan, ((0, 0), (0, 0), (0, 2 * ms.shape[2] - pan.shape[2])), mode="edge")
    sharp, part = product(located(ms, 30.0), rgb=located(pan, 15.0)), crop(150, 20, WIDE)
    before, after = panels({"before: 30 m": repeated(ms, 2), "after: 15 m": sharp}, NATURAL, part)
    return board([[before, own("guide: pan band, 15 m", pan, (0,), part), after]], WIDE, zoom=2)


def sentinel2() -> Figure:
    """Draw short-wave infrared of Sentinel-2, 20 m, by its own 10 m bands."""
    scene, fine = sentinel("im20"), sentinel("im10")
    sharp, part = product(located(scene, 20.0), rgb=located(fine, 10.0)), crop(204, 268, LARGE)
    before, after = panels({"bands 12, 8A, 5: 20 m": repeated(scene, 2), "product: 10 m": sharp}, SWIR, part)
    return board([[before, own("guide: bands 4, 3, 2, 10 m", fine, NATURAL, part), after]], LARGE)


def coastal() -> Figure:
    """Draw bands of 60 m of Sentinel-2, six times sharper."""
    scene, fine = sentinel("im60"), sentinel("im10")
    sharp, part = product(located(scene, 60.0), rgb=located(fine, 10.0)), crop(204, 268, LARGE)
    before, after = panels({"band 1: 60 m": repeated(scene, 6), "product: 10 m": sharp}, (0,), part)
    return board([[before, own("guide: bands 4, 3, 2, 10 m", fine, NATURAL, part), after]], LARGE)


def displaced() -> Figure:
    """Draw the pan band of Landsat 8 displaced further, used as it is and moved onto the scene."""
    ms, pan = (tif(path) for path in LANDSAT_8)
    pan = np.pad(pan, ((0, 0), (0, 0), (0, 2 * ms.shape[2] - pan.shape[2])), mode="edge")
    pan = np.roll(pan, (3, -2), (1, 2))
    scene, guide, part = located(ms, 30.0), located(pan, 15.0), crop(330, 130, LARGE)
    cubes = {
        "scene: 30 m": repeated(ms, 2),
        "guide not moved": product(scene, rgb=guide, coregister="off"),
        "default": product(scene, rgb=guide),
    }
    figure = board([panels(cubes, NATURAL, part)], LARGE)
    for axis in figure.axes:  # at the same place of each panel
        axis.axhline(4 * CROSS[0], color="white", lw=1)
        axis.axvline(4 * CROSS[1], color="white", lw=1)
    return figure


def unguided() -> Figure:
    """Draw four bands of 20 m without a guide, and the truth of 10 m."""
    truth, part = sentinel("im10"), crop(204, 268, SMALL)
    scene = degraded(truth, 10.0, 2)
    bicubic, auto = (product(scene, scale=2, model=name) for name in ("bicubic", "auto"))
    cubes = {
        "scene: 20 m": repeated(scene.to_numpy(), 2),
        f"bicubic: {decibels(bicubic, truth)}": bicubic,
        f"auto: {decibels(auto, truth)}": auto,
        "truth: 10 m": truth,
    }
    return board([panels(cubes, NATURAL, part)], SMALL)


def holes() -> Figure:
    """Draw Landsat 7 without its scan line corrector: gaps stay gaps."""
    ms, pan = np.concatenate([tif(LANDSAT_7.format(b)) for b in (1, 2, 3, 4, 5, 7)]), tif(LANDSAT_7.format(8))
    # 0 is fill, although the files declare 255; pixel centres coincide, so the pan band begins 7.5 m further inside.
    ms, pan = (np.where(v == 0, np.nan, v) for v in (ms, pan))
    guide = located(pan, 15.0).assign_coords(
        y=-(np.arange(pan.shape[1]) * 15.0 + 15.0), x=np.arange(pan.shape[2]) * 15.0 + 15.0
    )
    sharp, part = product(located(ms, 30.0), rgb=guide), crop(30, 40, LARGE)
    padded = np.pad(
        pan, ((0, 0), (0, 2 * ms.shape[1] - pan.shape[1]), (0, 2 * ms.shape[2] - pan.shape[2])), mode="edge"
    )
    before, after = panels({"bands 5, 4, 3: 30 m": repeated(ms, 2), "product: 15 m": sharp}, INFRARED, part)
    return board([[before, own("guide: pan band, 15 m", padded, (0,), part), after]], LARGE)


def change() -> Figure:
    """Draw a guide that shows another place in a rectangle."""
    scene, fine, part = sentinel("im20"), sentinel("im10").copy(), crop(120, 120, SMALL)
    fine[:, 140:180, 140:180] = fine[:, 240:280, 190:230]
    arguments = {"rgb": located(fine, 10.0)}
    cubes = {
        "scene: 20 m": repeated(scene, 2),
        "guide used everywhere": product(located(scene, 20.0), changes="off", **arguments),
        "default": product(located(scene, 20.0), **arguments),
    }
    before, ghost, after = panels(cubes, SWIR, part)
    return board([[before, own("guide: changed in a square", fine, NATURAL, part), ghost, after]], SMALL)


def enmap() -> tuple[Array, NDArray[np.float64], tuple[int, ...], xr.DataArray, xr.DataArray]:
    """Return EnMAP as a truth, its wavelengths, natural colours, and a scene of 120 m with a guide of 30 m."""
    truth, nm = tif(ENMAP), wavelengths(ENMAP)
    used = ~np.isnan(truth).any((1, 2))
    truth, nm = truth[used] / 10_000, nm[used]
    colours = tuple(int(np.abs(nm - w).argmin()) for w in (650, 550, 460))
    return truth, nm, colours, degraded(truth, 30.0, 4), located(truth[list(colours)], 30.0)


def uncertainty() -> Figure:
    """Draw the error of a product of known truth, and its estimated standard deviation."""
    truth, nm, colours, scene, guide = enmap()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        both = scene.dualsr.upscale(rgb=guide, uncertainty=True).compute(scheduler="single-threaded")
    sharp, sigma = (np.asarray(v) for v in both.data_vars.values())
    error, band = np.abs(sharp - truth), int(np.abs(nm - INFRARED_NM).argmin())
    covered = 100 * float((error <= 1.645 * sigma).mean())
    print(f"uncertainty: {covered:.0f} % within 1.645 sigma")  # for the page
    white = float(np.percentile(error[band], 99.5))
    maps = [
        (title, mpl.colormaps["magma"](np.clip(plane[band] / white, 0, 1))[..., :3])
        for title, plane in ((f"error at {INFRARED_NM:.0f} nm", error), ("estimated sigma", sigma))
    ]
    whole = (slice(None), slice(None))
    return board([[*panels({"product: 30 m": sharp}, colours, whole), *maps]], truth.shape[1:])


def spectra() -> Figure:
    """Draw spectra of EnMAP: degraded by 4, restored with its own natural colours, and the truth."""
    truth, nm, colours, scene, guide = enmap()
    cubes = {
        "scene: 120 m": repeated(scene.to_numpy(), 4),
        "product: 30 m": product(scene, rgb=guide),
        "truth: 30 m": truth,
    }
    figure = board([panels(cubes, colours, (slice(None), slice(None)))], truth.shape[1:], foot=PLOT_PX)
    # In ascending order: two detectors overlap. Nothing where water vapour absorbs all light.
    order = np.argsort(nm)
    shown = np.where([any(low < w < high for low, high in VAPOUR_NM) for w in nm], np.nan, 1.0)[order]
    for i, (y, x) in enumerate(remarkable(cubes)):
        plot(figure, i, nm[order], {n.split(":")[0]: cube[order, y, x] * shown for n, cube in cubes.items()})
        figure.axes[2].text(4 * x, 4 * y, str(i + 1), **DOT)
    return figure


DOT: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "bbox": {"boxstyle": "circle", "fc": "white"}}
LINES = {"truth": ("black", "-", 2.2), "scene": (ORANGE, "--", 1.6), "product": (BLUE, "-", 1.4)}


def wavelengths(path: str) -> NDArray[np.float64]:
    """Return the wavelengths of a raster's bands, nm."""
    with rasterio.open(DATA / path) as file:
        return np.array([float(file.tags(i)["wavelength"]) for i in file.indexes])


def remarkable(cubes: dict[str, Array]) -> list[tuple[int, int]]:
    """Return the pixels where the scene is worst, where the product is worst, and a typical one."""
    scene, sharp, truth = cubes.values()
    inner = (slice(6, -6), slice(6, -6))
    wrong, left = (np.sqrt(np.mean((c - truth) ** 2, 0))[inner] for c in (scene, sharp))
    typical = np.abs(wrong - np.median(wrong)) + np.abs(left - np.median(left))
    at = [np.unravel_index(plane.argmax(), plane.shape) for plane in (wrong - left, left, -typical)]
    return [(int(y) + 6, int(x) + 6) for y, x in at]


def plot(figure: Figure, i: int, nm: NDArray[np.float64], curves: dict[str, Array]) -> None:
    """Plot the spectra of a pixel below the i-th panel."""
    panel, height = figure.axes[i].get_position(), figure.get_figheight() * DPI
    axis = figure.add_axes(
        (panel.x0 + 50 / DPI / figure.get_figwidth(), FOOT_PX / height, panel.width - 60 / DPI / figure.get_figwidth(),
         (PLOT_PX - FOOT_PX - TITLE_PX) / height)
    )  # fmt: skip
    for name, (colour, style, width) in LINES.items():
        axis.plot(nm, curves[name], color=colour, ls=style, lw=width, label=name)
    axis.set(title=f"pixel {i + 1}", xlabel="wavelength, nm")
    axis.spines[["top", "right"]].set_visible(False)
    if not i:
        axis.set_ylabel("reflectance")
        axis.legend(frameon=False)


def models() -> Figure:
    """Draw the same crop by five models, and the truth: 40 m by 20 m, Sentinel-2."""
    truth, part = sentinel("im20"), crop(102, 134, SMALL)
    scene, guide = degraded(truth, 20.0, 2), degraded(sentinel("im10"), 10.0, 2)
    names = ("bicubic", "brovey", "gsa", "mtf-glp-hpm", "regression", "auto")
    made = {n: product(scene, model=n, **({"scale": 2} if n == "bicubic" else {"rgb": guide})) for n in names}
    cubes = {"scene: 40 m": repeated(scene.to_numpy(), 2)}
    cubes |= {f"{name}: {decibels(cube, truth)}": cube for name, cube in made.items()}
    shown = panels(cubes | {"truth: 20 m": truth}, SWIR, part)
    return board([shown[:4], shown[4:]], SMALL)


PICTURES = {
    p.__name__: p
    for p in (landsat, sentinel2, coastal, displaced, unguided, holes, change, uncertainty, spectra, models)
}


def draw(target: str | Path, names: Sequence[str] = ()) -> None:
    """Draw some pictures, all by default, as ``<name>.png``."""
    place = Path(target)
    place.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(INK):
        for name in names or PICTURES:
            save(PICTURES[name](), place / f"{name}.png")


if __name__ == "__main__":
    draw(*sys.argv[1:2] or ["."], sys.argv[2:])
