"""Writing a COG or a GeoTIFF from the stored tiles, in memory that does not grow with the scene.

The values are written to a band-interleaved stage file, overviews are built on it, and its blocks are put in the order
of the output, as they are where the creation options are plain, else in a copy by GDAL. No writer of a single call is bounded for 100 bands: they took
1.4 to 6 GiB for a scene of 1 GiB.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio import windows
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from dualsr_geo._compat import gdal_error_type
from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.writers.creation_options import (
    NO,
    THREADS,
    cog_options,
    gdal_warnings,
    gtiff_options,
    has_plain_options,
    overview_levels,
    overview_options,
    requested_options,
    stage_options,
    warn_of_ignored,
)
from dualsr_geo.io.writers.disk_space import disk_full_error
from dualsr_geo.io.writers.geotiff_tags import write_tags
from dualsr_geo.io.writers.output_spec import TIFF_FORMATS, OutputSpec
from dualsr_geo.io.writers.tiff_header import copy_domains, missing_block
from dualsr_geo.io.writers.tiff_order import write_in_order
from dualsr_geo.raster.windows import Tiling, Window

# GDAL's cache of blocks, and the values written at once.
CACHE_BYTES = 32 << 20
WINDOW_BYTES = 16 << 20
# Stage and output, each with a third more for its overviews, compress about as well as the stored tiles.
DISK_FACTOR = 2
# Side of the image on which creation options are tried.
TRIAL_PX = 128

# rasterio.shutil.copy takes no GDAL version; the COG driver can interleave by band since 3.11.
# Before, it holds 700 MiB for 128 bands, and the GTiff driver makes a valid COG in 120.
HAS_BAND_COG = tuple(int(n) for n in rasterio.__gdal_version__.split(".")[:2]) >= (3, 11)


def make_tiff(spec: OutputSpec, values: Any, records: Mapping[str, Any]) -> Path:
    """Write values and metadata as a COG or GeoTIFF in the work directory.

    Parameters
    ----------
    spec : OutputSpec
    values : array-like, shape (band, y, x)
        Packed, as in a zarr.Array.
    records : mapping
        ``"lineage"`` and ``"survey"``, JSON; kept in the domain DUALSR.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If the disk is full, or GDAL cannot write what the options request.
    """
    folder, requested = spec.destination.folder, requested_options(spec)
    stage, output = folder / "stage.tif", folder / f"product{Path(spec.path).suffix}"
    _require_disk_space(spec)
    options = stage_options(spec)
    with _gdal_errors(spec, stage):
        _write_stage(spec, values, records, stage, options)
        _require_all_blocks(stage, spec)
        if spec.format == "COG" and requested.get("OVERVIEWS", "").upper() != "NONE":
            _build_overviews(spec, stage, requested.get("OVERVIEW_RESAMPLING", "AVERAGE"), options)
            _require_all_blocks(stage, spec)
        if has_plain_options(spec):
            _reorder(stage, output)
        else:
            _copy(spec, stage, output)
            copy_domains(stage, output)
        if requested.get("SPARSE_OK", "NO").upper() in NO:
            _require_all_blocks(output, spec)
        stage.unlink()
    return output


def require_possible(spec: OutputSpec) -> None:
    """Check, before the work, that GDAL can write what the creation options request, on a small image in memory.

    Raises
    ------
    OptionError
        If it cannot.
    """
    if spec.format not in TIFF_FORMATS or not spec.options:
        return
    whole = spec.stacked
    values = np.zeros((len(whole.bands), TRIAL_PX, TRIAL_PX), whole.packing.dtype)
    with MemoryFile(ext=".tif") as stage, MemoryFile(ext=".tif") as output:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                form = {"driver": "GTiff", "count": len(values), "height": TRIAL_PX, "width": TRIAL_PX}
                with stage.open(**form, dtype=values.dtype, interleave="band") as target:
                    target.write(values)
                with gdal_warnings() as refusals:
                    _copy(whole, stage.name, output.name)
        except (RasterioError, gdal_error_type()) as error:
            given = " ".join(f"--co {name}={value}" for name, value in spec.options)
            raise OptionError(
                f"{given}: GDAL cannot write {len(values)} bands of {whole.packing.dtype} so "
                f"({_reason(error).replace(output.name, 'output').replace(Path(output.name).name, 'output')}). Give other creation options, or none."
            ) from error
    warn_of_ignored(spec, refusals)


def _reason(error: BaseException) -> str:
    return " ".join(str(error.__cause__ or error).split()).rstrip(".")


def _require_disk_space(spec: OutputSpec) -> None:
    """Refuse before the work what would fill the disk, of which libtiff prints lines of its own."""
    folder = spec.destination.folder
    stored = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    free, needed = shutil.disk_usage(folder).free, DISK_FACTOR * stored
    if free < needed:
        reason = f"{free >> 20} MiB are free, the output needs about {needed >> 20} MiB"
        raise disk_full_error(spec, reason)


def _write_stage(
    spec: OutputSpec, values: Any, records: Mapping[str, Any], stage: Path, options: Mapping[str, str]
) -> None:
    count, height, width = spec.shape
    crs = spec.geobox.crs
    with rasterio.open(
        stage, "w", driver="GTiff", count=count, height=height, width=width, dtype=spec.packing.dtype,
        nodata=spec.packing.nodata, crs=None if crs is None else CRS.from_wkt(crs.to_wkt()),
        transform=spec.geobox.affine, **options,
    ) as target:  # fmt: skip
        # Before the pixels: afterwards the header would have to move.
        write_tags(target, spec, records, is_copied=not has_plain_options(spec))
        for bands, window in _pieces(spec, int(options["BLOCKXSIZE"])):
            rows, columns = window.shape
            target.write(
                values[(bands, *window.slices)],
                indexes=list(range(bands.start + 1, bands.stop + 1)),
                window=windows.Window(window.x0, window.y0, columns, rows),
            )


def _pieces(spec: OutputSpec, block: int) -> Iterator[tuple[slice, Window]]:
    """Yield the bands and windows of the output, in whole blocks of the stage and whole chunks of bands."""
    count, height, width = spec.shape
    depth = spec.chunks[0]
    pixels = WINDOW_BYTES // (depth * np.dtype(spec.packing.dtype).itemsize)
    side = max(1, math.isqrt(pixels) // block) * block
    for first in range(0, count, depth):
        for tile in Tiling((height, width), side, 0):
            yield slice(first, min(first + depth, count)), tile.core


def _build_overviews(spec: OutputSpec, stage: Path, resampling: str, options: Mapping[str, str]) -> None:
    levels = overview_levels(spec.shape[1:])
    if not levels:
        return
    with rasterio.Env(**overview_options(options)), rasterio.open(stage, "r+") as target:
        target.build_overviews(levels, Resampling[resampling.lower()])


def _reorder(stage: Path, output: Path) -> None:
    """Make the output of the blocks of the stage, and of what GDAL wrote next to it."""
    write_in_order(stage, output)
    for sidecar in [f for f in stage.parent.glob(f"{stage.stem}.*") if f != stage]:
        suffix = sidecar.name.removeprefix(stage.name)
        name = output.name + suffix if suffix != sidecar.name else output.stem + sidecar.name.removeprefix(stage.stem)
        sidecar.replace(output.with_name(name))


def _copy(spec: OutputSpec, stage: Path | str, output: Path | str) -> None:
    options = cog_options(spec)
    if spec.format == "COG" and HAS_BAND_COG:
        rasterio.shutil.copy(str(stage), str(output), driver="COG", **options)
    else:
        rasterio.shutil.copy(str(stage), str(output), driver="GTiff", **gtiff_options(options))


def _require_all_blocks(path: Path, spec: OutputSpec) -> None:
    """Check for writes that failed while the file was closed, of which GDAL reports nothing."""
    block = missing_block(path)
    if block is None:
        return
    if shutil.disk_usage(path.parent).free < path.stat().st_size:
        raise disk_full_error(spec, f"{block} of {path.name} is missing")
    raise OutputError(
        f"GDAL did not write {block} of {spec.path}, though the disk has room. Check --co and the disk; {_kept(spec)}"
    )


def _kept(spec: OutputSpec) -> str:
    if not spec.resumable:
        return "then run again."
    return "the finished tiles are kept, so run again with --resume."


@contextmanager
def _gdal_errors(spec: OutputSpec, stage: Path) -> Iterator[None]:
    """Bound GDAL's memory, raise its errors as ours, and leave no stage file."""
    folder = spec.destination.folder
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS=THREADS):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except (RasterioError, gdal_error_type()) as error:
        reason = error.__cause__ or error
        # GDAL hides the system's reason and deletes a failed copy, which is as large as the stage.
        needed = max(1 << 20, 2 * stage.stat().st_size if stage.exists() else 0)
        if shutil.disk_usage(folder).free < needed:
            raise disk_full_error(spec, reason) from error
        raise OutputError(
            f"GDAL could not write {spec.path}: {_reason(error)}. Check --co and the disk; {_kept(spec)}"
        ) from error
    finally:
        for file in folder.glob("stage.*"):
            file.unlink()
