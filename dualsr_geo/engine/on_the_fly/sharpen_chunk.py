"""A chunk of a scene in memory, sharpened by the survey of the whole scene: for services that hand out chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo import resources
from dualsr_geo.argument_types import checked, path, raster, text
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.on_the_fly.opening import context_of, options_of
from dualsr_geo.engine.on_the_fly.stored_survey import ImageRecord, StoredSurvey
from dualsr_geo.engine.option_keywords import Path
from dualsr_geo.engine.options import Device
from dualsr_geo.engine.plan import configured_model
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import GridError, InputError, KeywordError, OptionError
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.windows import Tile, Window

if TYPE_CHECKING:
    import xarray as xr

# Part of a pixel by which a chunk may be off the grid of the survey.
TOLERANCE_PX = 1e-3
# Surveys whose models are kept.
MAX_SURVEYS = 8


@dataclass(frozen=True)
class _ChunkReader:
    """Reads windows of the whole scene from a chunk that holds them; see `InputReader`."""

    scene: NDArray[Any]
    at: Window
    decoding: Decoding
    guide: NDArray[np.float32] | None
    guide_at: Window | None

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        stored = self.scene[(slice(None), *window.within(self.at).slices)]
        return self.decoding.physical(stored, range(len(stored)))

    def normalized(self, normalization: Normalization) -> _ChunkReader:
        return replace(self, decoding=self.decoding.normalized(normalization))

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        if self.guide is None or self.guide_at is None:
            return None
        out = np.full((len(self.guide), *window.shape), np.nan, np.float32)
        part = Window(
            max(window.y0, self.guide_at.y0), min(window.y1, self.guide_at.y1),
            max(window.x0, self.guide_at.x0), min(window.x1, self.guide_at.x1),
        )  # fmt: skip
        if min(part.shape) > 0:
            out[(slice(None), *part.within(window).slices)] = self.guide[
                (slice(None), *part.within(self.guide_at).slices)
            ]
        return out


@reports_defects
@checked(scene=raster, guide=raster, device=text, model=path, half_model=path)
def sharpen_chunk(
    survey: StoredSurvey,
    scene: xr.DataArray,
    guide: xr.DataArray | None = None,
    *,
    device: Device = "auto",
    model: Path | None = None,
    half_model: Path | None = None,
) -> xr.DataArray:
    """Sharpen a chunk of a scene that is in memory, by the survey of the whole scene.

    The values are those of the product, except within ``survey.overlap`` pixels of a border of the chunk that is no border of
    the scene, where they depend on pixels that the chunk lacks. Chunks that overlap by as much have no seams.

    Parameters
    ----------
    survey : StoredSurvey
        Of the whole scene.
    scene : DataArray, dims (band, y, x)
        Values as the scene stores them, on its grid, whose place the coordinates x and y give. NaN, and the nodata value of
        the survey, are missing.
    guide : DataArray, dims (band, y, x), optional
        The guide of the survey, with its bands, on the grid of the product; values as its file stores them.
    device : str
        As in `Options`.
    model, half_model : path
        Given again where they named files when the survey was made.

    Returns
    -------
    DataArray, dims as of the scene
        The extent of the chunk on the grid of the product; values as the product stores them, in floats with NaN if the
        chunk has floats.

    Raises
    ------
    GridError
        If the chunk or its guide is not on the grid of the survey.
    InputError
        If it has other bands than the survey, or the survey is damaged.
    """
    if not isinstance(survey, StoredSurvey):
        raise KeywordError("`survey` is no survey. Give what dualsr_geo.survey or StoredSurvey.from_json returns.")
    own, half = (None if file is None else str(file) for file in (model, half_model))
    context = _context(survey, own, half, device)
    at = _place(scene, survey, 1, "scene")
    guide_at = None if guide is None else _place(guide, survey, survey.scale, "guide")
    _require_bands(survey, scene, guide)
    inside = at.clipped(survey.grid.shape)
    if min(inside.shape) < 1:
        raise GridError(
            f"The chunk is outside of {survey.scene.name}, of which the survey is. Give a chunk of that scene."
        )
    reader = _ChunkReader(scene.to_numpy(), at, _decoding(survey.scene), _physical(guide, survey.guide), guide_at)
    tile = Tile(0, inside, inside)
    cube, guide_values = read_tile(reader, context, tile)
    out = np.empty((context.count, *inside.scaled(survey.scale).shape), context.packing.dtype)
    for bands, stored in sharpen_tile(context, tile, cube, guide_values, TileStatistics(context.count)):
        if bands.start < context.count:
            out[bands] = stored
    return _labelled(out, scene, survey, inside)


@lru_cache(maxsize=MAX_SURVEYS)
def _context(survey: StoredSurvey, model: str | None, half_model: str | None, device: str) -> TileContext:
    """Return the context of the tiles, for which neither scene nor guide is opened; it is kept for the next chunk."""
    files = {"model": model, "half_model": half_model, "wavelengths": ""}
    options = options_of(survey, files, device=device)
    chosen, fine = configured_model(options)
    if fine == "finenet-per-tile":
        raise OptionError(
            "--fine finenet-per-tile fits each tile, so that chunks would have seams. Give --fine finenet."
        )
    context_for = partial(
        TileContext, survey.grid.shape, survey.scene.bands, survey.scale, max(survey.grid.shape), chosen, fine,
        survey.packing, resources.device(options.device),
    )  # fmt: skip
    return context_of(survey, context_for, chosen, fine)


def _decoding(image: ImageRecord) -> Decoding:
    count = image.bands
    return image.decoding or Decoding((1.0,) * count, (0.0,) * count, (None,) * count)


def _physical(guide: xr.DataArray | None, image: ImageRecord | None) -> NDArray[np.float32] | None:
    if guide is None or image is None:
        return None
    return _decoding(image).physical(guide.to_numpy(), range(image.bands))


def _require_bands(survey: StoredSurvey, scene: xr.DataArray, guide: xr.DataArray | None) -> None:
    expected, given = survey.scene.bands, scene.shape[0]
    guide_bands = 0 if survey.guide is None else survey.guide.bands
    given_guide = 0 if guide is None else guide.shape[0]
    if (expected, guide_bands) != (given, given_guide):
        raise InputError(
            f"The survey of {survey.scene.name} is of {expected} bands and {guide_bands} of a guide; the chunk has {given} and "
            f"{given_guide}. Give the same bands, in the same order."
        )


def _place(chunk: xr.DataArray, survey: StoredSurvey, finer: int, what: str) -> Window:
    """Return the window of a chunk by its coordinates; it may extend beyond the grid.

    Parameters
    ----------
    chunk : DataArray, dims (band, y, x)
    survey : StoredSurvey
    finer : int
        How many times finer than the scene its grid is.
    what : str
        For messages.
    """
    a, b, c, d, e, f = survey.grid.transform
    if chunk.ndim != 3 or b or d or "x" not in chunk.coords or "y" not in chunk.coords or not chunk.size:
        raise GridError(
            f"The chunk of the {what} is no array (band, y, x) with the coordinates x and y of a north-up grid. Give one."
        )
    columns = _positions(chunk.coords["x"].to_numpy(), c, a / finer)
    rows = _positions(chunk.coords["y"].to_numpy(), f, e / finer)
    if columns is None or rows is None:
        raise GridError(
            f"The chunk of the {what} is not on the grid of the survey of {survey.scene.name}, whose pixels are of "
            f"{abs(a) / finer:.10g} x {abs(e) / finer:.10g}. Load it on that grid, without resampling."
        )
    return Window(*rows, *columns)


def _positions(centres: NDArray[Any], origin: float, step: float) -> tuple[int, int] | None:
    """Return the first pixel and the one after the last of evenly spaced centres; None if they are between pixels."""
    exact = (centres.astype(np.float64) - origin) / step - 0.5
    whole = np.round(exact)
    if not np.isfinite(exact).all() or np.abs(exact - whole).max() > TOLERANCE_PX or np.any(np.diff(whole) != 1):
        return None
    return int(whole[0]), int(whole[-1]) + 1


def _labelled(out: NDArray[Any], scene: xr.DataArray, survey: StoredSurvey, inside: Window) -> xr.DataArray:
    """Return values with the coordinates of their pixels, in floats with NaN if the chunk has floats."""
    from xarray import DataArray  # noqa: PLC0415

    packing = survey.packing
    if scene.dtype.kind == "f" and not packing.is_float:
        missing = None if packing.nodata is None else out == packing.nodata
        out = out.astype(scene.dtype)
        if missing is not None:
            out[missing] = np.nan
    a, _, c, _, e, f = survey.grid.transform
    hr = inside.scaled(survey.scale)
    rows, columns = (np.arange(start, end) + 0.5 for start, end in ((hr.y0, hr.y1), (hr.x0, hr.x1)))
    band, y, x = scene.dims
    coords: dict[Any, Any] = {y: f + e / survey.scale * rows, x: c + a / survey.scale * columns}
    if band in scene.coords:
        coords[band] = scene.coords[band].to_numpy()
    return DataArray(out, dims=scene.dims, coords=coords, name=scene.name)
