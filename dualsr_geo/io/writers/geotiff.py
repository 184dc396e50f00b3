"""A COG or a GeoTIFF from the finished store, in memory that does not grow with the scene.

The values go into a band-interleaved stage file, overviews are built on that, and one copy
puts everything in the product's order. No one-call writer is bounded for 100 bands: they
took 1.4 to 6 GiB for a scene of 1 GiB.
"""

from __future__ import annotations

import json
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
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Compression, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter

from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.writers.output_spec import OutputSpec, band_title, disk_full
from dualsr_geo.io.writers.tiff_header import ROOM, carry_domains, missing_block, room_for
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.windows import Tiling, Window

BLOCK = 512
THREADS = "2"
CACHE_BYTES = 32 << 20
WINDOW_BYTES = 16 << 20
ROOM_FACTOR = 2

# rasterio.shutil.copy knows no GDAL version; the COG driver can interleave by band since 3.11.
# Before, it holds 700 MiB for 128 bands, and the GTiff driver makes a valid COG in 120.
HAS_BAND_COG = tuple(int(n) for n in rasterio.__gdal_version__.split(".")[:2]) >= (3, 11)

# GDAL writes these itself; those of the source are about the source.
RESERVED_DOMAINS = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "DUALSR"}

# Attributes that other parts of a TIFF say already.
STRUCTURAL_ATTRS = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "scales", "offsets",
    "grid_mapping", "coordinates", "zarr_conventions", "dualsr", "long_name", "units",
}  # fmt: skip

PREDICTED = {"ZSTD", "DEFLATE", "LZW"}


def require_options(layout: OutputSpec) -> None:
    """Check, before the work, the creation options that GDAL would ignore with a warning.

    Raises
    ------
    OptionError
        If the format takes none, or a compression or resampling is unknown.
    """
    if layout.format == "Zarr" and layout.options:
        name, value = layout.options[0]
        raise OptionError(f"--co {name}={value}: Zarr takes no creation options. Leave it out, or give --format COG.")
    asked = _asked(layout)
    known = (("COMPRESS", Compression, "ZSTD, DEFLATE, LZW, LERC or NONE"),
             ("OVERVIEW_RESAMPLING", Resampling, "AVERAGE, NEAREST or CUBIC"))  # fmt: skip
    for name, names, examples in known:
        if name in asked and asked[name].lower() not in names.__members__:
            raise OptionError(f"--co {name}={asked[name]} is unknown. Give {examples}.")


def make_tiff(layout: OutputSpec, store: Any, notes: Mapping[str, Any]) -> Path:
    """Write the store's values and the layout's metadata as a COG or GeoTIFF.

    Parameters
    ----------
    layout : OutputSpec
    store : zarr.Array, shape (band, y, x), stored values
    notes : mapping
        ``"lineage"`` and ``"survey"``, JSON; kept in the domain DUALSR.

    Returns
    -------
    Path
        The file, in the work folder.

    Raises
    ------
    OutputError
        If the disk is full, or GDAL cannot write what the options ask for.
    """
    stage, product = layout.folder / "stage.tif", layout.folder / f"product{Path(layout.path).suffix}"
    asked = _asked(layout)
    _require_room(layout)
    with _gdal_named(layout, stage):
        _write_stage(layout, store, notes, stage)
        _require_whole(stage, layout)
        if layout.format == "COG" and asked.get("OVERVIEWS", "").upper() != "NONE":
            _build_overviews(layout, stage, asked)
            _require_whole(stage, layout)
        _copy(layout, stage, product, asked)
        sparse = asked.get("SPARSE_OK", "NO").upper() not in ("NO", "FALSE", "OFF", "0")
        if not sparse:
            _require_whole(product, layout)
        carry_domains(stage, product)
        stage.unlink()
    return product


def _require_room(layout: OutputSpec) -> None:
    """Refuse before the work what would fill the disk: libtiff would say so in lines of its own.

    Stage and product, each with a third more for its overviews, compress about as the store does.
    """
    held = sum(f.stat().st_size for f in layout.folder.rglob("*") if f.is_file())
    free = shutil.disk_usage(layout.folder).free
    if free < ROOM_FACTOR * held:
        raise disk_full(layout, f"{free >> 20} MiB are free, the product needs about {ROOM_FACTOR * held >> 20} MiB")


def overview_levels(shape: tuple[int, int]) -> list[int]:
    """Return 2, 4, 8, ... until both sides are 512 px or less."""
    return [2**k for k in range(1, max(1, math.ceil(math.log2(max(shape) / BLOCK)) + 1))]


def block_side(shape: tuple[int, int]) -> int:
    """Return 512, or less for a small image; 128 is the least that the COG driver takes."""
    return min(BLOCK, max(128, -(-max(shape) // 16) * 16))


def _write_stage(layout: OutputSpec, store: Any, notes: Mapping[str, Any], stage: Path) -> None:
    count, height, width = layout.shape
    side = block_side((height, width))
    crs = layout.geobox.crs
    with rasterio.open(
        stage, "w", driver="GTiff", count=count, height=height, width=width, dtype=layout.packing.dtype,
        nodata=layout.packing.nodata, crs=None if crs is None else CRS.from_wkt(crs.to_wkt()),
        transform=layout.geobox.affine, tiled=True, blockxsize=side, blockysize=side, interleave="band",
        compress="zstd", zstd_level=1, predictor=_predictor(layout), bigtiff="YES", num_threads=THREADS,
    ) as target:  # fmt: skip
        # Before the pixels: afterwards the header would have to move.
        _describe(target, layout, notes)
        for bands, window in _pieces(layout, side):
            y0, x0 = window.y0, window.x0
            rows, columns = window.shape
            target.write(
                store[(bands, *window.slices)],
                indexes=list(range(bands.start + 1, bands.stop + 1)),
                window=windows.Window(x0, y0, columns, rows),
            )


def _pieces(layout: OutputSpec, block: int) -> Iterator[tuple[slice, Window]]:
    """Cut the product in windows of whole blocks of the stage and whole chunks of bands."""
    count, height, width = layout.shape
    depth = layout.chunks[0]
    room = WINDOW_BYTES // (depth * np.dtype(layout.packing.dtype).itemsize)
    side = max(1, math.isqrt(room) // block) * block
    for first in range(0, count, depth):
        for tile in Tiling((height, width), side, 0):
            yield slice(first, min(first + depth, count)), tile.core


def _build_overviews(layout: OutputSpec, stage: Path, asked: Mapping[str, str]) -> None:
    levels = overview_levels(layout.shape[1:])
    if not levels:
        return
    method = asked.get("OVERVIEW_RESAMPLING", "AVERAGE").lower()
    form = {
        "COMPRESS_OVERVIEW": "ZSTD",
        "ZSTD_LEVEL_OVERVIEW": "1",
        "PREDICTOR_OVERVIEW": str(_predictor(layout)),
        "INTERLEAVE_OVERVIEW": "BAND",
        "BIGTIFF_OVERVIEW": "YES",
        "GDAL_TIFF_OVR_BLOCKSIZE": str(block_side(layout.shape[1:])),
    }
    with rasterio.Env(**form), rasterio.open(stage, "r+") as target:
        target.build_overviews(levels, Resampling[method])


def _copy(layout: OutputSpec, stage: Path, product: Path, asked: Mapping[str, str]) -> None:
    options = {**_defaults(layout, asked), **asked}
    options.pop("OVERVIEW_RESAMPLING", None)
    if layout.format == "COG" and HAS_BAND_COG:
        rasterio.shutil.copy(str(stage), str(product), driver="COG", **options)
    else:
        rasterio.shutil.copy(str(stage), str(product), driver="GTiff", **_as_gtiff(options))


def _defaults(layout: OutputSpec, asked: Mapping[str, str]) -> dict[str, str]:
    """Return our creation options in the COG driver's words."""
    large = layout.raw_bytes * 4 / 3 > 2**31
    options = {
        "COMPRESS": "ZSTD",
        "INTERLEAVE": "BAND",
        "BLOCKSIZE": str(block_side(layout.shape[1:])),
        "BIGTIFF": "YES" if large else "IF_SAFER",
        "NUM_THREADS": THREADS,
        "OVERVIEWS": "FORCE_USE_EXISTING" if layout.format == "COG" else "NONE",
    }
    if asked.get("COMPRESS", "ZSTD").upper() == "ZSTD":
        # GDAL's own 9 takes five times as long and saves nothing on noisy spectra (geo-io.md 2.3).
        options["LEVEL"] = "1"
    if asked.get("COMPRESS", "ZSTD").upper() in PREDICTED:
        options["PREDICTOR"] = "FLOATING_POINT" if layout.packing.is_float else "STANDARD"
    return options


def _as_gtiff(options: Mapping[str, str]) -> dict[str, str]:
    """Return creation options in the GTiff driver's words; what it knows already stays."""
    said = dict(options)
    side, overviews = said.pop("BLOCKSIZE"), said.pop("OVERVIEWS")
    level, method = said.pop("LEVEL", None), said["COMPRESS"].upper()
    predictor = {"YES": "2", "STANDARD": "2", "FLOATING_POINT": "3", "NO": "1"}
    if "PREDICTOR" in said:
        said["PREDICTOR"] = predictor.get(said["PREDICTOR"].upper(), said["PREDICTOR"])
    if level is not None:
        said["ZSTD_LEVEL" if method == "ZSTD" else "ZLEVEL"] = level
    if overviews.upper() != "NONE":
        said["COPY_SRC_OVERVIEWS"] = "YES"
    if said.get("TILED", "YES").upper() == "YES":
        said = {"TILED": "YES", "BLOCKXSIZE": side, "BLOCKYSIZE": side, **said}
    return said


def _asked(layout: OutputSpec) -> dict[str, str]:
    return {name.upper(): value for name, value in layout.options}


def _predictor(layout: OutputSpec) -> int:
    return 3 if layout.packing.is_float else 2


def _describe(target: DatasetWriter, layout: OutputSpec, notes: Mapping[str, Any]) -> None:
    """Write all metadata but the grid and the type."""
    domains = dataset_tags(layout, notes)
    for domain, items in domains.items():
        target.update_tags(ns=domain or None, **items)
    target.update_tags(**{ROOM: room_for(domains)})
    target.scales, target.offsets = layout.packing.scales, layout.packing.offsets
    target.units = tuple(band.unit or "" for band in layout.bands)
    target.colorinterp = tuple(ColorInterp.__members__.get(b.color, ColorInterp.undefined) for b in layout.bands)
    for index, band in enumerate(layout.bands, 1):
        _describe_band(target, index, band)


def dataset_tags(layout: OutputSpec, notes: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return all tags of the dataset by domain: the scene's, the CF attributes, and our notes."""
    domains = {d: dict(items) for d, items in layout.tags.items() if d not in RESERVED_DOMAINS}
    attrs = {k: str(v) for k, v in layout.attrs.items() if _is_tag(k, v)}
    domains[""] = attrs | domains.get("", {})
    if layout.geobox.crs is None:
        # GDAL would write a made-up local CRS to say it.
        domains[""].pop("AREA_OR_POINT", None)
    said = {k.upper(): json.dumps(v, sort_keys=True) for k, v in notes.items() if v is not None}
    return {**domains, "DUALSR": said}


def _describe_band(target: DatasetWriter, index: int, band: Band) -> None:
    name = band_title(band, index)
    if name is not None:
        target.set_band_description(index, name)
    # Statistics were counted on other pixels.
    carried = {k: v for k, v in band.tags.items() if not k.startswith("STATISTICS_")}
    target.update_tags(index, **{**carried, **spectral_tags(band)})
    imagery = {"CENTRAL_WAVELENGTH_UM": band.wavelength_nm, "FWHM_UM": band.fwhm_nm}
    known = {k: f"{v / 1000:.12g}" for k, v in imagery.items() if v is not None}
    if known:
        target.update_tags(index, ns="IMAGERY", **known)


def spectral_tags(band: Band) -> dict[str, str]:
    """Return a band's wavelength, FWHM and badness as ENVI's readers and EnMAP-Box expect them."""
    tags: dict[str, str] = {}
    if band.wavelength_nm is not None:
        tags |= {"wavelength": f"{band.wavelength_nm:.12g}", "wavelength_units": "nanometers"}
    if band.fwhm_nm is not None:
        tags |= {"fwhm": f"{band.fwhm_nm:.12g}", "wavelength_units": "nanometers"}
    if not band.good:
        tags["bbl"] = "0"
    return tags


def _is_tag(name: str, value: object) -> bool:
    plain = isinstance(value, str | int | float) and not name.startswith(("proj:", "spatial:"))
    return plain and name not in STRUCTURAL_ATTRS


def _require_whole(path: Path, layout: OutputSpec) -> None:
    """Check what GDAL keeps to itself: writes that failed while the file was closed."""
    missing = missing_block(path)
    if missing is not None:
        raise disk_full(layout, f"{missing} of {path.name} is not there")


@contextmanager
def _gdal_named(layout: OutputSpec, stage: Path) -> Iterator[None]:
    """Bound GDAL's memory, turn its errors into ours, and leave no half-made file."""
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS=THREADS):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except (RasterioError, CPLE_BaseError) as error:
        said = error.__cause__ or error
        # GDAL hides the system's reason and deletes a failed copy, which is as large as the stage.
        needed = max(1 << 20, 2 * stage.stat().st_size if stage.exists() else 0)
        if shutil.disk_usage(layout.folder).free < needed:
            raise disk_full(layout, said) from error
        raise OutputError(
            f"GDAL could not write {layout.path}: {' '.join(str(said).split())}. Check --co and the disk; "
            "the finished tiles are kept, so run again with --resume."
        ) from error
    finally:
        for left in layout.folder.glob("stage.*"):
            left.unlink()
