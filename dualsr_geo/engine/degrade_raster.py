"""Degradation of a whole raster: blur by the MTF and decimation, tile by tile."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.argument_types import checked, flag, integer, number, number_or_auto, path, text
from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.plan import product_packing
from dualsr_geo.engine.size_limits import require_room, require_tiles
from dualsr_geo.engine.tiles.encoding import encode
from dualsr_geo.errors import ScaleError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.writers.destination import default_output, destination_at
from dualsr_geo.io.writers.output_spec import OutputSpec, format_of
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster import grid
from dualsr_geo.raster.normalization import WIDE_TYPES, Normalization, choose_normalization
from dualsr_geo.raster.packing import Nodata, Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Tile, Tiling, Window
from dualsr_geo.threads import one_thread

# Side of a tile, lr pixels, and the largest side of the hr pixels that it reads: the tiles of larger ratios are smaller.
TILE_SIDE = 256
MAX_READ_SIDE_PX = 8192
# An lr pixel has a value if this share of the PSF's weight is on valid hr pixels.
MIN_VALID_SHARE = 0.5


def degrade_window(values: NDArray[np.float32], op: Operator) -> torch.Tensor:
    """Degrade a window with holes by normalised convolution.

    Parameters
    ----------
    values : array, shape (band, ratio * y, ratio * x)
        NaN where there is no value.
    op : Operator
        The degradation of the window.

    Returns
    -------
    Tensor, shape (band, y, x)
        NaN where less than `MIN_VALID_SHARE` of the PSF's weight is on valid pixels.
    """
    hr = torch.from_numpy(np.ascontiguousarray(values))
    valid = torch.isfinite(hr)
    if bool(valid.all()):
        return op.degrade(hr)
    share = op.degrade(valid.to(hr.dtype))
    total = op.degrade(torch.where(valid, hr, 0.0))
    return torch.where(share >= MIN_VALID_SHARE, total / share.clamp_min(MIN_VALID_SHARE), torch.nan)


@reports_defects
@checked(
    scene=path,
    output=path,
    scale=integer,
    mtf_gain=number,
    bidx=text,
    format=text,
    nodata=number_or_auto,
    overwrite=flag,
)
def degrade(
    scene: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    scale: int,
    mtf_gain: float = 0.3,
    bidx: str | None = None,
    format: str | None = None,  # noqa: A002  # the name that rio and GDAL use
    dtype: str | None = None,
    nodata: Nodata = None,
    creation: tuple[tuple[str, str], ...] = (),
    overwrite: bool = False,
    trust_references: bool = False,
) -> dict[str, Any]:
    """Blur a raster by a Gaussian MTF and decimate it to a product on disk.

    Parameters
    ----------
    scene : path
    output : path, optional
        ``scene_d<scale>.tif`` next to the scene if left out.
    scale : int
        Ratio of pixel sizes; rows and columns beyond a multiple of the ratio are left out.
    mtf_gain : float
        MTF gain at the coarse Nyquist frequency, between 0 and 1.
    bidx, format, dtype, nodata, creation, overwrite, trust_references
        As for `upscale`.

    Returns
    -------
    dict
        output, scale, shape, bands.
    """
    opened = open_scene(
        scene,
        bidx=bidx,
        nodata=nodata if dtype is None or nodata == "auto" else None,
        trust_references=trust_references,
    )
    require_degradable(opened, scale, mtf_gain)
    place = output if output is not None else default_output(scene, opened, f"_d{scale}")
    spec = _output_spec(opened, os.fspath(place), scale, format, creation)
    spec.destination.require_apart([opened])
    spec = replace(spec, packing=product_packing(opened, dtype, nodata))
    return degrade_scene(opened, spec, scale, mtf_gain, overwrite=overwrite)


def degrade_to(scene: Scene, output: Path, scale: int, mtf_gain: float) -> None:
    """Degrade an opened scene to a new product in the packing of the scene."""
    spec = _output_spec(scene, str(output), scale, "GTiff", ())
    degrade_scene(scene, replace(spec, packing=product_packing(scene)), scale, mtf_gain, overwrite=False)


def degrade_scene(opened: Scene, spec: OutputSpec, scale: int, mtf_gain: float, *, overwrite: bool) -> dict[str, Any]:
    """Degrade an opened scene to a product; return output, scale, shape, bands."""
    psf = require_degradable(opened, scale, mtf_gain)
    require_tiles(spec.shape[1:], spec.tile, opened.name)
    require_room(spec)
    identity = {"scene": opened.source.fingerprint(), "scale": scale, "mtf_gain": mtf_gain}
    spec = replace(spec, resumable=False)
    with spec.destination.locked() as require_held:
        store = TileStore.begin(spec, identity, resume=False, overwrite=overwrite)
        for tile in Tiling(spec.shape[1:], spec.tile, psf.reach_lr + 1):
            _degrade_tile(opened, psf, spec, store, tile)
        require_held()
        store.finish({"software": "dualsr-geo", "degraded": {"scale": scale, "mtf_gain": mtf_gain}}, None)
    return {"output": spec.path, "scale": scale, "shape": list(spec.shape[1:]), "bands": opened.count}


def require_degradable(scene: Scene, scale: int, mtf_gain: float) -> Psf:
    """Return the blur of a degradation.

    Raises
    ------
    ScaleError
        If the scale is below 2 or above a side of the scene.
    OptionError
        If the MTF gain is no gain.
    """
    height, width = scene.shape
    if not 2 <= scale <= min(height, width):
        largest = max(2, min(height, width))
        raise ScaleError(f"--scale {scale} cannot degrade {height} x {width} pixels. Give 2..{largest}.")
    return Psf.from_mtf(scale, mtf_gain)


def read_normalized(
    source: Source, window: Window, bands: range, stored: str, packing: Packing
) -> tuple[NDArray[np.float32], Normalization | None]:
    """Return a window of some bands of a scene, normalized where 32-bit floats do not hold it, and how.

    Parameters
    ----------
    source : Source
    window : Window
    bands : range
    stored : str
        Type in which the scene is stored.
    packing : Packing
        Of all bands of the product.
    """
    if stored not in WIDE_TYPES:
        return source.read(window, bands), None
    exact = source.normalized(Normalization.exact(source.shape[0])).read(window, bands)
    own = choose_normalization([exact], stored, packing.select(tuple(bands)), first_band=bands.start)
    if own is None:
        return exact.astype(np.float32), None
    origins = np.zeros(source.shape[0])
    origins[bands.start : bands.stop] = own.origins
    normalization = replace(own, origins=tuple(origins.tolist()))
    return source.normalized(normalization).read(window, bands), normalization


def encode_degraded(
    values: torch.Tensor, packing: Packing, bands: slice, normalization: Normalization | None = None
) -> NDArray[np.generic]:
    """Return degraded values (band, y, x), NaN where there is no value, as they are stored."""
    values = values.contiguous()
    hole = torch.isnan(values)
    values[hole] = 0.0
    return encode(values, packing, bands, float("-inf"), hole if bool(hole.any()) else None, normalization).stored


def _output_spec(
    scene: Scene, place: str, scale: int, format_: str | None, creation: tuple[tuple[str, str], ...]
) -> OutputSpec:
    return OutputSpec(
        destination=destination_at(place, format_of(place, format_)),
        geobox=grid.coarsen(scene.geobox, scale),
        bands=scene.bands,
        packing=scene.packing,
        tags=scene.tags,
        attrs=scene.attrs,
        name=scene.name,
        tile=min(TILE_SIDE, max(1, MAX_READ_SIDE_PX // scale)),
        options=creation,
    )


def _degrade_tile(scene: Scene, psf: Psf, spec: OutputSpec, store: TileStore, tile: Tile) -> None:
    op = operator(psf, (spec.shape[1], spec.shape[2]), tile.padded)
    rows, columns = tile.core.within(tile.padded).slices
    chunks: dict[str, int | None] = {}
    for bands in store.band_ranges():
        window, chosen = tile.padded.scaled(psf.ratio), range(bands.start, bands.stop)
        values, normalization = read_normalized(scene.source, window, chosen, scene.packing.dtype, spec.packing)
        with one_thread(), torch.inference_mode():
            degraded = degrade_window(values, op)[:, rows, columns]
            stored = encode_degraded(degraded, spec.packing, bands, normalization)
        chunks |= store.write(tile.core, bands, stored)
    store.mark(tile.index, {}, chunks)
