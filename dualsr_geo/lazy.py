"""The flow as a lazy dask array: the survey is one task, a tile is one task, nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  # registers .rio
import torch
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from threadpoolctl import threadpool_limits

from dualsr_geo import finefit, grid, registration
from dualsr_geo.align import Guide, displaced
from dualsr_geo.bands import Packing
from dualsr_geo.degrade import Psf, operator
from dualsr_geo.errors import OptionError
from dualsr_geo.field import Field
from dualsr_geo.figures import Figures
from dualsr_geo.layout import deviation_attrs
from dualsr_geo.model import is_refined
from dualsr_geo.plan import Job, product_packing
from dualsr_geo.read import open_scene
from dualsr_geo.reduce import degrade_window, require_degradable, store_degraded
from dualsr_geo.refinement import Refinement
from dualsr_geo.sample import Sample, Wishes, sample_margin, sample_windows
from dualsr_geo.scene import Scene
from dualsr_geo.sources import ArraySource, Source
from dualsr_geo.survey import Survey, survey
from dualsr_geo.threads import one_thread
from dualsr_geo.tile import Tile, Window
from dualsr_geo.window import sharpen_tile
from dualsr_geo.work import Work, guide_window

MOST_TASKS = 10**5
# Where xarray and rioxarray keep how values are stored.
PACKING_KEYS = (
    "dtype", "rasterio_dtype", "_FillValue", "missing_value", "nodata", "nodatavals",
    "scale_factor", "add_offset", "scales", "offsets",
)  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """A piece of scene and guide: sources that hold no more than a window of them.

    Attributes
    ----------
    scene : Source
    window : Window
        The piece, in the coordinates of `scene`.
    place : Window
        The piece, in the coordinates of the whole scene.
    guide : Guide or None
        On the target grid of the whole scene.
    """

    scene: Source
    window: Window
    place: Window
    guide: Guide | None


def upscale(job: Job) -> da.Array:
    """Return the product as a lazy array, (band, Y, X), stored values.

    With uncertainty its standard deviations follow, as many bands more. Blocks are tiles. Keys follow from the inputs, so the same call has the same graph.

    Parameters
    ----------
    job : Job

    Raises
    ------
    OptionError
        If the graph would have more than 10^5 tasks.
    """
    local = job.options.coregister == "local" and job.guide is not None
    # Whatever a field says, the guide that it needs comes along.
    margin = sample_margin(job.ratio) + (registration.margin(job.ratio) if local else 0)
    sampled = [_ground(job, w, margin) for w in sample_windows(job.scene.shape)]
    field = None
    if local:
        places = [_ground(job, w, margin) for w in registration.windows(job.scene.shape)]
        field = delayed(_field, pure=True)(places, job.scene.shape, job.wishes)
    known = delayed(_survey, pure=True)(sampled, job.wishes, field)
    rows, columns = job.tiling.grid
    if rows * columns > MOST_TASKS:
        raise OptionError(
            f"A tile of {job.sizes.tile} lr pixels makes {rows * columns} tasks, more than {MOST_TASKS}. "
            "Give a larger tile, or write to disk with dualsr_geo.upscale."
        )
    fitted = None
    if is_refined(job.model, job.fine):
        fitted = delayed(_fitted, pure=True)(job.work, known, sampled, job.wishes)
    run = delayed(_tile, pure=True)
    blocks = []
    for tile in job.tiling:
        piece = _ground(job, tile.padded, margin)
        shape = (job.scene.count * (1 + job.options.uncertainty), *tile.core.scaled(job.ratio).shape)
        made = run(job.work, known, fitted, tile.index, piece)
        blocks.append(da.from_delayed(made, shape=shape, dtype=job.packing.dtype))
    lines = [blocks[i * columns : (i + 1) * columns] for i in range(rows)]
    array: da.Array = da.concatenate([da.concatenate(line, axis=2) for line in lines], axis=1)
    return array


def _ground(job: Job, window: Window, margin: int) -> Ground:
    """Return the piece of the inputs that a window needs; dask arrays in it stay lazy."""
    source, at = job.scene.source, window
    if isinstance(source, ArraySource):
        source = replace(source, array=_chunked(source.array)[:, window.slices[0], window.slices[1]])
        at = window.within(window)
    guide = job.guide
    if guide is not None:
        guide = guide.near(window.scaled(job.ratio).grown(margin))
    return Ground(source, at, window, guide)


def _chunked(array: xr.DataArray) -> xr.DataArray:
    """Return the array as dask, so that slices of it are tasks and not copies in the graph."""
    return array if array.chunks is not None else array.chunk()


def _field(pieces: Sequence[Ground], shape: tuple[int, int], wishes: Wishes) -> Field | None:
    """Estimate how the guide is displaced, place by place."""
    margin, places = registration.margin(wishes.ratio), [p.place for p in pieces]
    guides = [p.guide.read(p.place.scaled(wishes.ratio).grown(margin)) for p in pieces if p.guide is not None]
    with one_thread(), threadpool_limits(1, user_api="blas"):
        return registration.local_field(places, [p.scene.read(p.window) for p in pieces], guides, shape, wishes)


def _survey(pieces: Sequence[Ground], wishes: Wishes, field: Field | None) -> Survey:
    """Survey the sampled pieces."""
    margin = sample_margin(wishes.ratio)
    samples = []
    for piece in pieces:
        near = piece.place.scaled(wishes.ratio).grown(margin)
        guide = None if piece.guide is None else displaced(piece.guide, field).read(near)
        samples.append(Sample(piece.scene.read(piece.window), guide))
    with one_thread(), threadpool_limits(1, user_api="blas"):
        return replace(survey(samples, wishes), field=field)


def _fitted(
    make: Callable[[Survey], Work], known: Survey, pieces: Sequence[Ground], wishes: Wishes
) -> Refinement | None:
    """Fit the fine stage to the sampled pieces."""
    work, at = make(known), {piece.place: piece for piece in pieces}
    with threadpool_limits(1, user_api="blas"):
        return finefit.fit(work, wishes, lambda tile: _read(work, tile, at[tile.padded]))


def _read(work: Work, tile: Tile, piece: Ground) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    guide = None
    if piece.guide is not None and work.guided:
        guide = displaced(piece.guide, work.survey.field).read(guide_window(work, tile))
    return piece.scene.read(piece.window), guide


def _tile(
    make: Callable[[Survey], Work], known: Survey, fitted: Refinement | None, index: int, piece: Ground
) -> NDArray[np.generic]:
    """Sharpen one tile in memory."""
    work = replace(make(known), refinement=fitted)
    tile = work.tiling[index]
    cube, guide = _read(work, tile, piece)
    shape = (work.count * (1 + (known.doubt is not None)), *tile.core.scaled(work.ratio).shape)
    out = np.empty(shape, work.packing.dtype)
    for rows, stored in sharpen_tile(work, tile, cube, guide, Figures(work.count)):
        out[rows] = stored
    return out


def as_dataarray(job: Job, like: xr.DataArray) -> xr.DataArray:
    """Return the lazy product with the scene's coordinates, attributes and encoding.

    Where the scene comes masked (floats of an integer file, NaN where nothing is), so does the
    product; otherwise as stored.

    Parameters
    ----------
    job : Job
    like : DataArray, dims (band, y, x)
        The scene.
    """
    return _finished(upscale(job), job.packing, job.scene, like, job.target)


def as_dataset(job: Job, like: xr.DataArray) -> xr.Dataset:
    """Return the lazy product beside the standard deviations of its errors, ``uncertainty``, in the same form.

    Parameters
    ----------
    job : Job
        With uncertainty.
    like : DataArray, dims (band, y, x)
        The scene.
    """
    stored, count = upscale(job), job.scene.count
    product, sigma = (
        _finished(part, packing, job.scene, like, job.target)
        for part, packing in ((stored[:count], job.packing), (stored[count:], job.packing.deviations))
    )
    name = str(like.name or job.scene.name)
    product.attrs["ancillary_variables"] = "uncertainty"
    sigma.attrs |= deviation_attrs(sigma.attrs, name)
    return xr.Dataset({name: product, "uncertainty": sigma})


def _finished(stored: da.Array, packing: Packing, scene: Scene, like: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Return stored values in the scene's own form: masked or as stored, with its coordinates and attributes."""
    masked = like.dtype.kind == "f" and not packing.is_float
    # What only masks, without scaling (rioxarray's masked=True), is only masked again.
    done = (
        packing if _is_decoded(scene) else replace(packing, scales=(1.0,) * scene.count, offsets=(0.0,) * scene.count)
    )
    values = da.map_blocks(_decoded, stored, done, like.dtype, dtype=like.dtype) if masked else stored
    out = _told(_dressed(values, like, target), scene)
    return out if packing == scene.packing else _repacked(out, packing, masked=masked)


def _told(out: xr.DataArray, scene: Scene) -> xr.DataArray:
    """Add what the scene's instrument says of its bands, where the array says nothing."""
    if scene.sensor is None or not scene.sensor.used or out.ndim < 3:
        return out
    known = {"wavelength": [b.wavelength_nm for b in scene.bands], "fwhm": [b.fwhm_nm for b in scene.bands]}
    new = {name: (out.dims[0], values, {"units": "nm"}) for name, values in known.items() if name not in out.coords}
    return out.assign_coords(new)


def _is_decoded(scene: Scene) -> bool:
    """Say whether scale and offset are applied to an array already."""
    left = scene.source.decoding if isinstance(scene.source, ArraySource) else None
    return left is None or (set(left.scales), set(left.offsets)) == ({1.0}, {0.0})


def _repacked(out: xr.DataArray, packing: Packing, *, masked: bool) -> xr.DataArray:
    """Say how the product is stored, where the scene was stored otherwise."""
    said: dict[str, Any] = {}
    for one, each, values, nothing in (
        ("scale_factor", "scales", packing.scales, 1.0),
        ("add_offset", "offsets", packing.offsets, 0.0),
    ):
        if set(values) != {nothing}:
            said[one if len(set(values)) == 1 else each] = values[0] if len(set(values)) == 1 else values
    if packing.nodata is not None:
        said["_FillValue"] = np.dtype(packing.dtype).type(packing.nodata)
    out.attrs = {k: v for k, v in out.attrs.items() if k not in PACKING_KEYS}
    out.encoding = {k: v for k, v in out.encoding.items() if k not in PACKING_KEYS}
    if masked:
        out.encoding |= {"dtype": packing.dtype, **said}
    else:
        out.attrs |= said
    return out


def _dressed(values: da.Array, like: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Return values as a DataArray like another, but on the target grid."""
    _, y, x = like.dims
    beside = {n: c for n, c in like.coords.items() if y not in c.dims and x not in c.dims}
    out = xr.DataArray(values, dims=like.dims, coords=beside, attrs=dict(like.attrs))
    # Left to itself, xarray names an unnamed array after its dask graph.
    out.name = like.name
    out.encoding = _encoding(like)
    return _placed(out, target, str(y), str(x))


def _placed(out: xr.DataArray, target: GeoBox, y: str, x: str) -> xr.DataArray:
    """Give an array the target grid: pixel centres, CRS and transform."""
    affine, (height, width) = target.affine, target.shape
    if affine.b == 0 and affine.d == 0:
        out = out.assign_coords(
            {
                y: (y, affine.f + affine.e * (np.arange(height) + 0.5)),
                x: (x, affine.c + affine.a * (np.arange(width) + 0.5)),
            }
        )
    out = out.rio.set_spatial_dims(x_dim=x, y_dim=y)
    if target.crs is not None:
        out = out.rio.write_crs(grid.crs_name(target))
    placed: xr.DataArray = out.rio.write_transform(affine)
    return placed


def _decoded(stored: NDArray[Any], packing: Packing, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return physical values, NaN where nothing is, with the arithmetic that xarray uses."""
    scale, offset = (np.asarray(v, dtype)[:, None, None] for v in (packing.scales, packing.offsets))
    values = stored.astype(dtype)
    hole = np.isnan(values) if packing.nodata is None or np.isnan(packing.nodata) else stored == packing.nodata
    if np.any(scale != 1):
        values = values * scale
    if np.any(offset != 0):
        values = values + offset
    values[hole] = np.nan
    return values


def _encoding(like: xr.DataArray) -> dict[str, Any]:
    """Return what of the scene's encoding holds for the product: packing, not chunks."""
    return {k: v for k, v in like.encoding.items() if k in (*PACKING_KEYS, "grid_mapping")}


def degrade(array: xr.DataArray, scale: int, mtf_gain: float) -> xr.DataArray:
    """Blur a scene by a Gaussian MTF and decimate it, as one lazy block.

    Parameters
    ----------
    array : DataArray, dims y, x and at most one more
    scale : int
        Ratio of pixel sizes; rows and columns beyond a multiple of it are left out.
    mtf_gain : float
        MTF gain at the coarse Nyquist frequency.
    """
    scene = open_scene(array)
    psf = require_degradable(scene, scale, mtf_gain)
    target = grid.coarsen(scene.geobox, scale)
    source = scene.source
    if not isinstance(source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    like = source.array
    lazy = replace(source, array=_chunked(like))
    packing = product_packing(scene)
    made = delayed(_degraded, pure=True)(lazy, psf, packing)
    stored = da.from_delayed(made, (scene.count, *target.shape), packing.dtype)
    return _finished(stored, packing, scene, like, target)


def _degraded(source: ArraySource, psf: Psf, packing: Packing) -> NDArray[np.generic]:
    count, height, width = source.shape
    shape = height // psf.ratio, width // psf.ratio
    cube = source.read(Window(0, shape[0] * psf.ratio, 0, shape[1] * psf.ratio))
    with one_thread(), torch.inference_mode():
        return store_degraded(degrade_window(cube, operator(psf, shape)), packing, slice(0, count))
