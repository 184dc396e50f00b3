"""A reader of rio-tiler and TiTiler that serves sharpened tiles from a stored survey; needs ``pip install dualsr-geo[tiles]``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attr
import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.features import bounds as feature_bounds
from rasterio.io import DatasetReader, MemoryFile
from rasterio.warp import transform, transform_bounds
from rasterio.windows import Window as RasterioWindow

from dualsr_geo.engine.on_the_fly.product_window import touched_window
from dualsr_geo.engine.on_the_fly.sharpen_window import open_sharpener
from dualsr_geo.engine.on_the_fly.window_sharpener import WindowSharpener
from dualsr_geo.engine.tiles.encoding import empty_value, encode
from dualsr_geo.errors import InputError
from dualsr_geo.raster import grid
from dualsr_geo.raster.windows import Window

try:
    from rio_tiler.constants import WGS84_CRS
    from rio_tiler.errors import NoOverviewWarning, PointOutsideBounds, TileOutsideBounds
    from rio_tiler.io import BaseReader, Reader
    from rio_tiler.models import BandStatistics, ImageData, Info, PointData
except ImportError as error:
    raise ImportError(
        "Tiles are served by rio-tiler, which is not installed. Install it: pip install 'dualsr-geo[tiles]'."
    ) from error

# Side of the blocks of the datasets in memory, pixels.
BLOCK_PX = 256
# Source pixels around a tile, in pixels of the tile: more than the kernel of any resampling.
MARGIN_PX = 4
# Points along each side of bounds that are put into another CRS.
DENSIFIED = 21
# Pixels of the scene under a pixel of an overview from which a subsample, by GDAL from overviews, replaces their mean.
SUBSAMPLED_FROM = 8
# Tiles are sharpened whose pixels are smaller than the scene's divided by this. Zooms are factors of 2 apart, so that it
# leaves the zoom that is nearest to the scene's pixels, and all below, to the scene.
SHARPENED_BELOW = 2**0.5
# Longest side of an image whose size is not stated.
PREVIEW_PX = 1024


@attr.s
class DualSRReader(BaseReader):  # type: ignore[misc, unused-ignore]  # rio-tiler is optional, and then of no type
    """Read tiles and parts of a product that is not on disk, sharpened where their pixels are smaller than the scene's.

    Coarser ones are read from the scene. The values are those of the product: stored values, with scale and offset,
    `unscale=True` applies them.

    Parameters
    ----------
    input : path, DataArray or Dataset
        The scene.
    survey : StoredSurvey or path
        What `dualsr_geo.survey` returned or wrote.
    guide : path, DataArray or Dataset, or several, optional
        The guide of the survey.
    tms : morecantile.TileMatrixSet
        By default WebMercatorQuad.
    options : dict, optional
        As of rio-tiler's reader: nodata, unscale, resampling_method, reproject_method, ...
    """

    survey: Any = attr.ib(kw_only=True)
    guide: Any = attr.ib(default=None, kw_only=True)
    options: dict[str, Any] = attr.ib(factory=dict, kw_only=True)
    sharpener: WindowSharpener = attr.ib(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Open the scene, or take it from the cache, and take over the grid of the product."""
        self.sharpener = open_sharpener(self.survey, self.input, self.guide)
        target = self.sharpener.target
        if target.crs is None:
            raise InputError(
                "The scene has no CRS, so its place on a map of tiles is not known. Set it (rio edit-info --crs)."
            )
        self.crs = CRS.from_user_input(grid.crs_name(target))
        self.height, self.width = (int(n) for n in target.shape)
        self.transform = target.affine
        self.bounds = tuple(target.boundingbox)

    @property
    def minzoom(self) -> int:
        """The lowest zoom at which the product is larger than a tile."""
        return int(self._minzoom)

    @property
    def maxzoom(self) -> int:
        """The zoom whose pixels are nearest to those of the product."""
        return int(self._maxzoom)

    def info(self) -> Info:
        """Return bounds, CRS, bands and data type of the product."""
        with self._reader(None, 1.0) as reader:
            return reader.info()

    def statistics(self, *args: Any, **kwargs: Any) -> dict[str, BandStatistics]:
        """Return statistics of the bands, which are read from the scene; arguments as of rio-tiler's reader."""
        size = int(kwargs.get("max_size") or PREVIEW_PX)
        with self._reader(self._everything, self._pixels_of_preview(size)) as reader:
            return dict(reader.statistics(*args, **kwargs))

    def tile(self, tile_x: int, tile_y: int, tile_z: int, tilesize: int | None = None, **kwargs: Any) -> ImageData:
        """Read a tile; further arguments as of rio-tiler's reader.

        Raises
        ------
        TileOutsideBounds
            If the product does not touch it.
        """
        if not self.tile_exists(tile_x, tile_y, tile_z):
            raise TileOutsideBounds(f"Tile(x={tile_x}, y={tile_y}, z={tile_z}) is outside bounds")
        bounds = self.tms.xy_bounds(tile_x, tile_y, tile_z)
        size = tilesize or self.tms.matrix(tile_z).tileWidth
        buffer = float(kwargs.get("buffer") or 0)
        with self._around(tuple(bounds), self.tms.rasterio_crs, (size, size), buffer) as reader:
            return self._named(reader.tile(tile_x, tile_y, tile_z, tilesize=tilesize, **kwargs))

    def part(self, bbox: Sequence[float], **kwargs: Any) -> ImageData:
        """Read the part of the product inside bounds; further arguments as of rio-tiler's reader."""
        crs, size = kwargs.get("bounds_crs") or WGS84_CRS, (kwargs.get("height"), kwargs.get("width"))
        longest = kwargs.get("max_size")
        buffer = float(kwargs.get("buffer") or 0)
        with self._around(tuple(bbox), crs, size if all(size) else (longest, longest), buffer) as reader:
            return self._named(reader.part(bbox, **kwargs))

    def preview(self, **kwargs: Any) -> ImageData:
        """Read all of the scene at the resolution of a preview; arguments as of rio-tiler's reader."""
        sizes = [kwargs.get(name) for name in ("height", "width")]
        longest = max((s for s in sizes if s), default=kwargs.get("max_size") or PREVIEW_PX)
        with self._reader(self._everything, self._pixels_of_preview(longest)) as reader:
            return self._named(reader.preview(**kwargs))

    def point(self, lon: float, lat: float, coord_crs: CRS = WGS84_CRS, **kwargs: Any) -> PointData:
        """Read the pixel of the product at a position; further arguments as of rio-tiler's reader.

        Raises
        ------
        PointOutsideBounds
            If it is outside of the product.
        """
        (x,), (y,) = transform(coord_crs, self.crs, [lon], [lat])
        column, row = ~self.transform @ (x, y)
        if not (0 <= row < self.height and 0 <= column < self.width):
            raise PointOutsideBounds("Point is outside dataset bounds")
        window = Window(int(row), int(row) + 1, int(column), int(column) + 1).grown(MARGIN_PX)
        with self._reader(window.clipped((self.height, self.width)), 1.0) as reader:
            return self._named(reader.point(lon, lat, coord_crs=coord_crs, **kwargs))

    def feature(self, shape: dict[str, Any], **kwargs: Any) -> ImageData:
        """Read the part of the product inside a GeoJSON feature; further arguments as of rio-tiler's reader."""
        crs, longest = kwargs.get("shape_crs") or WGS84_CRS, kwargs.get("max_size")
        size = (kwargs.get("height"), kwargs.get("width"))
        with self._around(feature_bounds(shape), crs, size if all(size) else (longest, longest), 0.0) as reader:
            return self._named(reader.feature(shape, **kwargs))

    @property
    def _everything(self) -> Window:
        return Window(0, self.height, 0, self.width)

    def _named(self, image: Any) -> Any:
        image.assets = [str(getattr(self.input, "name", self.input))]
        return image

    def _pixels_of_preview(self, longest: int) -> float:
        """Return the pixels of the product along a side of a pixel of a preview, never less than one of the scene.

        Sharpening all of the product for one image could take minutes.
        """
        return max(max(self.height, self.width) / longest, float(self.sharpener.context.ratio))

    @contextmanager
    def _around(
        self, bounds: tuple[float, ...], crs: CRS, size: tuple[int | None, int | None], buffer: float
    ) -> Iterator[Reader]:
        """Yield rio-tiler's reader of a dataset that has values inside bounds, for an image of a size (rows, columns)."""
        product = (
            self.bounds if crs == self.crs else transform_bounds(self.crs, crs, *self.bounds, densify_pts=DENSIFIED)
        )
        left, bottom, right, top = _common(bounds, product)
        if left >= right or bottom >= top:
            window, pixels = None, 1.0
        else:
            own = (left, bottom, right, top)
            if crs != self.crs:
                own = transform_bounds(crs, self.crs, *own, densify_pts=DENSIFIED)
            pixels = _pixels(bounds, size, product, (self.height, self.width))
            margin = math.ceil((MARGIN_PX + buffer) * pixels)
            window = touched_window(own, self.sharpener.target).grown(margin).clipped((self.height, self.width))
        with self._reader(window, pixels) as reader:
            yield reader

    @contextmanager
    def _reader(self, window: Window | None, pixels: float) -> Iterator[Reader]:
        """Yield rio-tiler's reader of the product, with values in a window only.

        Parameters
        ----------
        window : Window or None
            Of the product; None for no values.
        pixels : float
            Pixels of the product along a side of a pixel of the image.
        """
        sharpener, ratio = self.sharpener, self.sharpener.context.ratio
        if window is None or min(window.shape) < 1:
            opened = _dataset(sharpener, sharpener.target, None, None)
        elif pixels * SHARPENED_BELOW < ratio:
            opened = _dataset(sharpener, *_product(sharpener, window, max(1, int(pixels))))
        else:
            opened = _dataset(sharpener, *_overview(sharpener, window, max(1, int(pixels / ratio))))
        with opened as dataset, warnings.catch_warnings():
            # The dataset has the resolution of the image.
            warnings.simplefilter("ignore", NoOverviewWarning)
            with Reader(None, dataset=dataset, tms=self.tms, options=dict(self.options)) as reader:
                yield reader


def _common(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float, float]:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _pixels(
    bounds: tuple[float, ...], size: tuple[int | None, int | None], product: tuple[float, ...], shape: tuple[int, int]
) -> float:
    """Return the pixels of the product along a side of a pixel of an image, at least 1; both bounds are in one CRS."""
    counts = []
    for low, high, pixels, own in ((1, 3, size[0], shape[0]), (0, 2, size[1], shape[1])):
        if pixels:
            counts.append((bounds[high] - bounds[low]) / pixels * own / (product[high] - product[low]))
    return max(1.0, min(counts, default=1.0))


@contextmanager
def _dataset(
    sharpener: WindowSharpener, box: GeoBox, values: NDArray[Any] | None, window: Window | None
) -> Iterator[DatasetReader]:
    """Yield a dataset in memory on a grid, all of whose blocks outside a window are absent.

    The extent is that of the product, since rio-tiler derives the resolution of a tile from it.
    """
    packing, bands = sharpener.context.packing, sharpener.scene.bands
    height, width = (int(n) for n in box.shape)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=len(bands), dtype=packing.dtype, nodata=packing.nodata,
            crs=CRS.from_user_input(grid.crs_name(box)), transform=box.affine, tiled=True, blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX, sparse_ok=True, bigtiff="IF_SAFER", interleave="band",
        ) as dataset:  # fmt: skip
            dataset.scales, dataset.offsets = packing.scales, packing.offsets
            for index, band in enumerate(bands, 1):
                if band.name:
                    dataset.set_band_description(index, band.name)
            if values is not None and window is not None:
                rows, columns = window.shape
                dataset.write(values, window=RasterioWindow(window.x0, window.y0, columns, rows))
        with memory.open() as dataset:
            yield dataset


def _product(sharpener: WindowSharpener, window: Window, factor: int) -> tuple[GeoBox, NDArray[np.generic], Window]:
    """Return the grid of the product, or one of larger pixels, and stored values in a window of that grid.

    Parameters
    ----------
    sharpener : WindowSharpener
    window : Window
        Of the product.
    factor : int
        Pixels of the product along a side of a larger pixel, which has their mean, as overviews of a product have.
    """
    bands = range(sharpener.context.count)
    if factor == 1:
        return sharpener.target, sharpener.read(window, bands), window
    box, part = _coarser(sharpener.target, window, factor)
    stored = sharpener.read(part.scaled(factor).clipped(sharpener.shape[1:]), bands)
    packing = sharpener.context.packing
    missing = np.isnan(stored) if stored.dtype.kind == "f" else np.zeros(stored.shape, bool)
    if packing.nodata is not None:
        missing |= stored == packing.nodata
    means = block_means(np.where(missing, np.nan, stored), factor, part.shape)
    if not packing.is_float:
        # As GDAL rounds the means of overviews.
        means = np.floor(means + 0.5)
    hole = np.isnan(means)
    if packing.nodata is not None:
        # A mean that equals the nodata value moves by a step, as values of the product do.
        lowest = not packing.is_float and packing.nodata == np.iinfo(packing.dtype).min
        means[(means == packing.nodata) & ~hole] += 1 if lowest else -1
    return box, np.where(hole, empty_value(packing), means).astype(packing.dtype), part


def _coarser(box: GeoBox, window: Window, factor: int) -> tuple[GeoBox, Window]:
    """Return a grid with larger pixels from the same corner, and its window that covers a window of the finer one."""
    rows, columns = (-(-int(n) // factor) for n in box.shape)
    coarse = GeoBox((rows, columns), box.affine @ Affine.scale(factor), box.crs)
    part = Window(window.y0 // factor, -(-window.y1 // factor), window.x0 // factor, -(-window.x1 // factor))
    return coarse, part.clipped((rows, columns))


def _overview(sharpener: WindowSharpener, window: Window, factor: int) -> tuple[GeoBox, NDArray[np.generic], Window]:
    """Return the grid of the scene with larger pixels, and stored values of the scene in a window of that grid.

    Parameters
    ----------
    sharpener : WindowSharpener
    window : Window
        Of the product.
    factor : int
        Pixels of the scene along a side of a larger pixel.
    """
    context, source = sharpener.context, sharpener.scene.source
    box, part = _coarser(sharpener.scene.geobox, _touched(window, context.ratio), factor)
    fine = part.scaled(factor).clipped(context.shape)
    if factor < SUBSAMPLED_FROM:
        planes = [block_means(source.read(fine, [band]), factor, part.shape)[0] for band in range(context.count)]
    else:
        rows, columns = (int(n) for n in box.shape)
        planes = [source.thumbnail(band, (rows, columns))[part.slices] for band in range(context.count)]
    values = torch.from_numpy(np.stack(planes).astype(np.float32))
    hole = torch.isnan(values)
    stored = encode(values.nan_to_num(), context.packing, slice(0, context.count), -math.inf, hole).stored
    return box, stored, part


def _touched(window: Window, ratio: int) -> Window:
    """Return the pixels of the scene that a window of the product touches."""
    return Window(window.y0 // ratio, -(-window.y1 // ratio), window.x0 // ratio, -(-window.x1 // ratio))


def block_means(values: NDArray[Any], factor: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the means of blocks of pixels, NaN where none has a value.

    Parameters
    ----------
    values : array, shape (band, y, x)
        NaN where there is no value.
    factor : int
        Side of a block, pixels; blocks at the lower and right edge may be cut.
    shape : (int, int)
        Blocks along y and x.
    """
    (rows, columns), (height, width) = (n * factor for n in shape), values.shape[1:]
    edges = ((0, 0), (0, rows - height), (0, columns - width))
    padded = np.pad(values.astype(np.float64), edges, constant_values=np.nan)
    blocks = padded.reshape(len(values), shape[0], factor, shape[1], factor)
    valid = np.isfinite(blocks)
    count = valid.sum((2, 4))
    total = np.where(valid, blocks, 0).sum((2, 4))
    means: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means
