"""Draw the pictures of docs/gallery.md, one for each feature, from a synthetic landscape with a known truth.

Run: python examples/figures/gallery.py docs/images/gallery [PICTURE ...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import rasterio
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform
from scipy.ndimage import distance_transform_cdt
from stage import DPI, GAP_PX, INK, RATIO, ZOOM, Array, Mask, Shape, Stage, board, holed, read, rewrite, save

from dualsr_geo import synthetic
from dualsr_geo.evaluation import metrics

SHAPE = (60, 80)
# Places as of `Stage.crop`, and the corner of a roof in the crop of the farm.
CLOUD, HALL, CROSS = (0.7, 2.4), (1.95, 2.25), (0.28, 0.58)
# The photograph: its CRS, its rotation there, and its displacement (down, right), hr pixels.
CRS, TURN_DEG, SHIFT_PX = "EPSG:3035", 20.0, (4.2, -2.4)
# Change by holes that is drawn brightest, reflectance.
CHANGED = 0.02
# An NDVI is green above this, and significant where 90 % of a normal distribution are on one side.
RED_NM, NIR_NM, GREEN, SIGNIFICANT = 660.0, 860.0, 0.4, 1.645
# Colour-blind safe (Okabe and Ito).
BLUE, ORANGE, GREY = "#0072b2", "#e69f00", "#d9d9d9"
# Plots of spectra: width, space below them, line styles, and the mark of a pixel.
PLOT_PX, FOOT_PX = 280, 56
LINES = {"truth": ("black", "-", 2.4), "scene": (ORANGE, "--", 1.6), "product": (BLUE, "-", 1.6)}
DOT: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "bbox": {"boxstyle": "circle", "fc": "white"}}
# Marks further apart than this do not overlap, hr pixels.
APART_PX = 12


def decibels(product: Array, truth: Array) -> str:
    """Return the PSNR over all bands, peak 1, in words."""
    return f"{metrics.psnr(product, truth, peak=1.0):.1f} dB"


def pan(folder: Path, shape: Shape) -> Figure:
    """Draw scene, guide and product, the whole and a crop."""
    stage = Stage.made(folder, shape)
    cubes = {
        "scene: 31 bands, 8 m": read(stage.scene),
        "guide: pan, 2 m": read(stage.guide),
        "product: 31 bands, 2 m": stage.product(),
    }
    figure = board([[stage.whole(*c) for c in cubes.items()], [stage.near("", c) for c in cubes.values()]], shape)
    stage.frame(figure, range(3))
    return figure


def aircraft(folder: Path, shape: Shape) -> Figure:
    """Draw a displaced photograph on a grid of its own, and the products with and without registration."""
    stage = Stage.made(folder, shape, bands=62, guide="rgb", shift_px=SHIFT_PX)
    photo = flown(stage.guide)
    displaced, moved = (stage.product(rgb=photo, coregister=how) for how in ("off", "auto"))
    first = {
        "scene: 62 bands, 8 m": read(stage.scene),
        f"photograph in {CRS}": read(photo),
        "product: 62 bands, 2 m": moved,
    }
    here = {n: decibels(stage.crop(c), stage.crop(stage.truth)) for n, c in (("off", displaced), ("auto", moved))}
    second = {f"coregister off: {here['off']}": displaced, f"auto: {here['auto']}": moved, "truth": stage.truth}
    figure = board([[stage.whole(*c) for c in first.items()], [stage.near(*c) for c in second.items()]], shape)
    stage.frame(figure, (0, 2))
    for axis in figure.axes[3:]:
        axis.axhline(ZOOM * shape[0] * CROSS[0], color="white", lw=0.8)
        axis.axvline(ZOOM * shape[1] * CROSS[1], color="white", lw=0.8)
    return figure


def flown(guide: Path) -> Path:
    """Resample a guide to a rotated grid in another CRS."""
    path = guide.with_name("photo.tif")
    with rasterio.open(guide) as file:
        (x,), (y,) = transform(file.crs, CRS, *([c] for c in file.xy(file.height / 2, file.width / 2)))
        grid = Affine.translation(x, y) @ Affine.rotation(TURN_DEG) @ Affine.scale(file.res[1], -file.res[0])
        grid @= Affine.translation(-file.width / 2, -file.height / 2)
        values = np.full((file.count, *file.shape), synthetic.NODATA, np.uint16)
        onto = {"dst_crs": CRS, "dst_transform": grid, "dst_nodata": synthetic.NODATA}
        reproject(rasterio.band(file, file.indexes), values, **onto, resampling=Resampling.cubic)
        with rasterio.open(path, "w", **(file.profile | {"crs": CRS, "transform": grid})) as out:
            out.write(values)
    return path


def unguided(folder: Path, shape: Shape) -> Figure:
    """Draw the product without a guide, twice as sharp."""
    stage = Stage.made(folder, shape, ratio=2)
    bicubic, auto = (stage.product(rgb=None, scale=2, model=name) for name in ("bicubic", "auto"))
    first = {"scene: 8 m": read(stage.scene), f"bicubic: {decibels(bicubic, stage.truth)}": bicubic}
    second = {f"product: {decibels(auto, stage.truth)}": auto, "truth: 4 m": stage.truth}
    return board([[stage.near(*c) for c in row.items()] for row in (first, second)], shape)


def holes(folder: Path, shape: Shape) -> Figure:
    """Draw holes and a ragged edge, and the change next to them."""
    stage = Stage.made(folder, shape)
    undisturbed, nothing = stage.product(), missing(shape)
    cut = np.where(nothing, np.nan, read(stage.scene))
    rewrite(stage.scene, cut)
    product = stage.product()
    off = np.kron(distance_transform_cdt(~nothing, "chessboard"), np.ones((RATIO, RATIO), int))
    for ring in (1, 2, 3):
        cubes = (c[:, None, off == ring] for c in (stage.truth, product, undisturbed))
        true, after, before = cubes
        scores = f"RMSE {metrics.rmse(after, true):.4f}, without the holes {metrics.rmse(before, true):.4f}"
        print(f"holes: {ring} px of the scene off, {scores}")
    change = np.sqrt(np.mean((product - undisturbed) ** 2, 0))
    heat = mpl.colormaps["cividis"](np.nan_to_num(stage.crop(change, CLOUD)) / CHANGED)[..., :3]
    last = ("changed by the holes", holed(heat, stage.crop(off == 0, CLOUD)))
    whole = {"scene": cut, "product": product, "guide": read(stage.guide)}
    near = [stage.near("", c, CLOUD) for c in (cut, product)]
    figure = board([[stage.whole(*c) for c in whole.items()], [*near, last]], shape)
    stage.frame(figure, range(3), CLOUD)
    return figure


def missing(shape: Shape) -> Mask:
    """Return where a scene is nodata: outside its tilted swath, under a cloud, in a lost line, in dead pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape).reshape(2, 1, 1)
    outside = (x < 0.12 - 0.1 * y) | (x > 1.02 - 0.12 * y)
    cloud = np.hypot(y - 0.29, x - 0.72) < 0.06 + 0.01 * np.sin(3 * np.arctan2(y - 0.29, x - 0.72))
    line = (np.arange(shape[0])[:, None] == int(0.6 * shape[0])) & (x > 0.5)
    dead = np.random.default_rng(7).random(shape) < 0.002
    return np.asarray(outside | cloud | line | dead)


def change(folder: Path, shape: Shape) -> Figure:
    """Draw a hall that only the guide shows: used, withheld, and without a guide."""
    stage = Stage.made(folder, shape, guide="rgb")
    (y, x), built = stage.corner(HALL), read(stage.guide)
    hall = (slice(None), slice(y, y + shape[0] // 3), slice(x, x + shape[1] // 3))
    built[hall] = synthetic.guide_spectra("rgb")[list(synthetic.MATERIALS).index("concrete"), :, None, None]
    rewrite(stage.guide, built)
    cubes = {
        "changes off": stage.product(changes="off"),
        "auto": stage.product(),
        "no guide": stage.product(rgb=None, scale=RATIO),
    }
    first = {"scene": read(stage.scene), "guide, with a new hall": built, "truth": stage.truth}
    second = {f"{name}: {decibels(c[hall], stage.truth[hall])} there": c for name, c in cubes.items()}
    return board([[stage.near(*c) for c in row.items()] for row in (first, second)], shape)


def uncertainty(folder: Path, shape: Shape) -> Figure:
    """Draw the error of an NDVI, its estimated standard deviation, and where a threshold is significant."""
    stage = Stage.made(folder, shape)
    both, count = stage.product(uncertainty=True), len(stage.truth)
    red, nir = stage.bands(RED_NM, NIR_NM)
    index, true = ((c[nir] - c[red]) / (c[nir] + c[red]) for c in (both, stage.truth))
    # The errors of the two bands are assumed to be independent.
    sigma = 2 * np.hypot(both[red] * both[count + nir], both[nir] * both[count + red]) / (both[nir] + both[red]) ** 2
    significant, right = np.abs(index - GREEN) > SIGNIFICANT * sigma, (index > GREEN) == (true > GREEN)
    sure, rest = right[significant].mean(), right[~significant].mean()
    print(f"uncertainty: {significant.mean():.0%} significant, {sure:.1%} of them right; of the rest {rest:.1%}")
    most = float(np.quantile(np.abs(index - true), 0.99))
    heat = (mpl.colormaps["magma"](stage.crop(v) / most) for v in (np.abs(index - true), sigma))
    colours = {f"above {GREEN}": BLUE, "below": ORANGE, "not significant": GREY}
    kinds = np.where(significant, np.where(index > GREEN, 0, 1), 2)
    classes = np.array([mpl.colors.to_rgb(c) for c in colours.values()])[stage.crop(kinds)]
    titles = ("NDVI: its error", "NDVI: standard deviation", f"{sure:.1%} of the significant are right")
    figure = board([list(zip(titles, (*heat, classes), strict=True))], shape, foot=FOOT_PX)
    explain(figure, most, colours)
    return figure


def explain(figure: Figure, most: float, colours: dict[str, str]) -> None:
    """Explain below three panels the colours of the first two and of the third."""
    first, second, third = (axis.get_position() for axis in figure.axes)
    foot = FOOT_PX / DPI / figure.get_figheight()
    bar = figure.add_axes(((first.x0 + second.x0) / 2, 0.72 * foot, first.width, 0.25 * foot))
    figure.colorbar(mpl.cm.ScalarMappable(mpl.colors.Normalize(0, most), "magma"), bar, orientation="horizontal")
    figure.legend(
        handles=[Patch(color=c, label=name) for name, c in colours.items()],
        loc="center", bbox_to_anchor=((third.x0 + third.x1) / 2, 0.6 * foot),
        ncols=3, frameon=False, columnspacing=0.8, handlelength=1, handletextpad=0.4,
    )  # fmt: skip


def spectra(folder: Path, shape: Shape) -> Figure:
    """Draw spectra where the error of the scene is largest, where that of the product is, and where it is typical."""
    stage = Stage.made(folder, shape, bands=62)
    product, scene = stage.product(), stage.crop(read(stage.scene)).repeat(RATIO, 1).repeat(RATIO, 2)
    cut = {"truth": stage.crop(stage.truth), "scene": scene, "product": stage.crop(product)}
    figure = board([[stage.near("product", product)]], shape, right=3 * PLOT_PX + 5 * GAP_PX, foot=FOOT_PX)
    for i, (title, (y, x)) in enumerate(places_of(cut).items()):
        figure.axes[0].text(ZOOM * (x + 0.5), ZOOM * (y + 0.5), str(i + 1), **DOT)
        axis = plot(figure, i, stage.sample.wavelengths_nm, {name: c[:, y, x] for name, c in cut.items()})
        axis.set_title(f"{i + 1}: {title}")
    figure.axes[1].set_ylabel("reflectance")
    figure.axes[1].legend(frameon=False)
    return figure


def places_of(cut: dict[str, Array]) -> dict[str, tuple[int, int]]:
    """Choose pixels by their RMSE over bands."""
    wrong = {name: np.sqrt(np.mean((c - cut["truth"]) ** 2, 0)) for name, c in cut.items()}
    y, x = np.indices(wrong["scene"].shape)
    free = np.ones(y.shape, bool)
    wanted = {f"largest error of the {name}": wrong[name] for name in ("scene", "product")}
    wanted["typical"] = -np.abs(wrong["product"] - np.median(wrong["product"]))
    places = {}
    for title, most in wanted.items():
        at = np.unravel_index(np.where(free, most, -np.inf).argmax(), y.shape)
        places[title] = (int(at[0]), int(at[1]))
        free &= np.hypot(y - at[0], x - at[1]) > APART_PX
    return places


def plot(figure: Figure, i: int, nm: NDArray[np.float64], curves: dict[str, Array]) -> Axes:
    """Plot spectra next to a panel, the i-th from the left."""
    panel, width = figure.axes[0].get_position(), figure.get_figwidth() * DPI
    left = panel.x1 + (5 * GAP_PX + i * PLOT_PX) / width
    shared = {"sharex": figure.axes[1], "sharey": figure.axes[1]} if i else {}
    axis = figure.add_axes((left, panel.y0, (PLOT_PX - 2 * GAP_PX) / width, panel.height), **shared)
    for name, (colour, dash, thick) in LINES.items():
        axis.plot(nm, curves[name], dash, color=colour, lw=thick, label=name)
    axis.set_xlabel("nm")
    axis.tick_params(labelleft=i == 0)
    return axis


def models(folder: Path, shape: Shape) -> Figure:
    """Draw the same crop by four models."""
    stage = Stage.made(folder, shape)
    cubes = {"bicubic": stage.product(model="bicubic", rgb=None, scale=RATIO)}
    cubes |= {name: stage.product(model=name) for name in ("gsa", "regression", "auto")}
    products = [stage.near(f"{name}: {decibels(c, stage.truth)}", c) for name, c in cubes.items()]
    panels = [stage.near("scene", read(stage.scene)), *products, stage.near("truth", stage.truth)]
    return board([panels[:3], panels[3:]], shape)


PICTURES = {draw.__name__: draw for draw in (pan, aircraft, unguided, holes, change, uncertainty, spectra, models)}


def draw(target: str | Path, names: Sequence[str] = (), shape: Shape = SHAPE) -> None:
    """Draw some pictures, all by default, as ``<name>.png``."""
    place = Path(target)
    place.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        with tempfile.TemporaryDirectory() as folder, mpl.rc_context(INK):
            save(PICTURES[name](Path(folder), shape), place / f"{name}.png")


if __name__ == "__main__":
    draw(sys.argv[1] if len(sys.argv) > 1 else ".", sys.argv[2:])
