"""Rasters that GDAL opens, as scenes."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from dualsr_geo.errors import DualSRWarning, InputError
from dualsr_geo.io.readers.block_sizes import require_block
from dualsr_geo.io.readers.blocks.decoded import JPEG_2000_DRIVERS
from dualsr_geo.io.readers.dataset_cache import open_quietly
from dualsr_geo.io.readers.netcdf import (
    FILE_ORDER,
    is_upside_down,
    netcdf_bands,
    netcdf_crs,
    netcdf_geobox,
    netcdf_transform,
    require_bands_first,
    stated_transform,
)
from dualsr_geo.io.readers.rasterio_source import RasterSource
from dualsr_geo.io.readers.references.opening import Access, open_checked
from dualsr_geo.io.readers.tags import LAYOUT_DOMAINS, useful_tags
from dualsr_geo.io.readers.tiff_structure import require_complete, strip_shape
from dualsr_geo.io.storage.folders.opening import member_of
from dualsr_geo.io.storage.names import expanded, fits_file_system
from dualsr_geo.io.storage.store_settings import GZIP_OPTIONS, is_gzip
from dualsr_geo.io.storage.urls import gdal_path, shown, url_of
from dualsr_geo.raster.bands import DEVIATION_OF, Band, parse_bidx
from dualsr_geo.raster.georeferencing import parse_crs
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import (
    Decoding,
    Packing,
    reflectance_divisor,
    require_numbers,
    require_packing,
    resolve_nodata,
)
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.wavelengths import Spectrum, from_envi, from_imagery, from_name, from_tags
from dualsr_geo.raster.windows import Window
from dualsr_geo.redaction import redact

# Suffixes of the data file of an ENVI header.
ENVI_SUFFIXES = ("", ".img", ".dat", ".bin", ".raw", ".bsq", ".bil", ".bip", ".envi")


@dataclass(frozen=True)
class Raster:
    """The bands chosen of a raster as a scene, and what the file states of all its bands.

    Attributes
    ----------
    scene : Scene
    bands : tuple of Band
        The spectral bands of the file, in its order, and those chosen.
    places : tuple of int
        Where each band of the scene is among `bands`.
    """

    scene: Scene
    bands: tuple[Band, ...]
    places: tuple[int, ...]


def open_raster(where: str, *, bidx: str | None, nodata: float | None) -> Raster:
    """Open a raster that GDAL opens.

    Parameters
    ----------
    where : str
        A path, a subdataset, a URL.
    bidx : str or None
        Bands to take, as rio writes them; all spectral ones by default.
    nodata : float or None
        Stored value of missing pixels, instead of the file's own.

    Raises
    ------
    InputError
        If it is missing, damaged, not numeric, located by control points only, or holds several
        rasters.
    """
    uri = _locate(where)
    with rasterio.Env(**GZIP_OPTIONS) if is_gzip(uri) else nullcontext():
        dataset, access = open_checked(uri, where)
        with dataset:
            if dataset.count:
                return _describe(dataset, uri, bidx, nodata, access)
            inner = _only_subdataset(dataset, shown(where), access)
    return open_raster(inner, bidx=bidx, nodata=nodata)


def _locate(where: str) -> str:
    """Return an absolute path (workers may run elsewhere), or what GDAL resolves itself."""
    if where.startswith(("<", "/vsi")) and not os.path.lexists(where):
        return where
    if url_of(where) is not None:
        return gdal_path(where)
    path = expanded(where)
    if not fits_file_system(where) or not path.exists():
        # A subdataset or a URL; one letter is a Windows drive.
        if re.match(r"[A-Za-z][A-Za-z0-9+_]+:", where):
            return where
        if where == "-":
            raise InputError("The scene - is a pipe, and a scene is read in pieces that are not in order. Give a file.")
        if (member := member_of(path)) is not None:
            return os.fspath(member)
        raise InputError(f"{shown(where)} does not exist. Give the path of a raster or of a Zarr group.")
    if path.suffix.lower() == ".hdr":
        candidates = [path.with_suffix(s) for s in ENVI_SUFFIXES] + [path.with_suffix("").with_suffix(".img")]
        path = next((p for p in candidates if p.is_file() and p != path), path)
    return os.path.abspath(path)


def _only_subdataset(dataset: DatasetReader, where: str, access: Access) -> str:
    usable: list[tuple[int, str, str]] = []
    # CF: such variables (an uncertainty, flags) describe another variable and are no scenes.
    ancillary: set[str] = set()
    for name in dataset.subdatasets:
        try:
            with open_quietly(name, access.config, access.drivers) as inner:
                if inner.count and min(inner.shape) > 1:
                    height, width = inner.shape
                    size = f"{height} x {width} px, bands: {inner.count}"
                    usable.append((inner.count * height * width, name, size))
                    ancillary.update(inner.tags(1).get("ancillary_variables", "").split())
        except RasterioError:
            # A table, a text or a profile, which cannot be the scene.
            continue
    usable = [u for u in usable if u[1].rpartition(":")[2] not in ancillary]
    if len(usable) == 1:
        return usable[0][1]
    if not usable:
        raise InputError(f"{where} holds no raster bands. Give a file with an image in it.")
    usable.sort(key=lambda u: -u[0])
    listed = "; ".join(f"{redact(name)} ({size})" for _, name, size in usable[:5])
    more = f" and {len(usable) - 5} more" if len(usable) > 5 else ""
    raise InputError(f"{where} holds {len(usable)} rasters. Give one of these as the scene: {listed}{more}.")


def _describe(dataset: DatasetReader, uri: str, bidx: str | None, nodata: float | None, access: Access) -> Raster:
    for file in _local_tiffs(dataset):
        require_complete(file)
    _require_mask_file(dataset)
    if dataset.driver == "netCDF":
        require_bands_first(dataset, shown(dataset.files[0] if dataset.files else uri))
    spectral = _spectral_indexes(dataset)
    if bidx is None:
        _warn_of_alpha(dataset)
        indexes = spectral
    else:
        indexes = [i + 1 for i in parse_bidx(bidx, dataset.count)]
    where = shown(dataset.files[0] if dataset.files else uri)
    scene = _scene(dataset, uri, indexes, nodata, where, access)
    listed = sorted({*spectral, *indexes})
    bands = scene.bands if listed == indexes else _bands(dataset, listed)
    return Raster(scene, bands, tuple(listed.index(i) for i in indexes))


def _scene(
    dataset: DatasetReader, uri: str, indexes: Sequence[int], nodata: float | None, where: str, access: Access
) -> Scene:
    for i in indexes:
        require_numbers(dataset.dtypes[i - 1], where)
    dtype = str(np.result_type(*(dataset.dtypes[i - 1] for i in indexes)))
    decoding, packing = _values(dataset, indexes, dtype, nodata, where)
    without_transform = dataset.driver == "netCDF" and dataset.transform == Affine.identity()
    upside_down = dataset.driver == "netCDF" and not without_transform and is_upside_down(dataset)
    geobox = netcdf_geobox(dataset, where) if without_transform else _geobox(dataset, where)
    if upside_down:
        geobox = GeoBox(geobox.shape, stated_transform(dataset), geobox.crs)
    source = RasterSource(
        uri,
        dtype,
        _mask(dataset, indexes),
        tuple(dataset.files),
        (*access.config, *(FILE_ORDER if without_transform or upside_down else ())),
        indices=tuple(i - 1 for i in indexes),
        size=dataset.shape,
        decoding=decoding,
        drivers=access.drivers,
        jp2_block=dataset.block_shapes[0] if dataset.driver in JPEG_2000_DRIVERS else None,
    )
    _require_block(dataset, indexes[-1], where)
    _read_last_block(source, dataset)
    return Scene(source, geobox, _bands(dataset, indexes), packing, _tags(dataset), {}, Path(where).stem or "scene")


def _spectral_indexes(dataset: DatasetReader) -> list[int]:
    """Return every band but the alpha band, which is the mask, and the standard deviations of other bands."""
    alpha = _alpha_indexes(dataset)
    return [i for i in dataset.indexes if i not in alpha and DEVIATION_OF not in dataset.tags(i)]


def _alpha_indexes(dataset: DatasetReader) -> list[int]:
    """Return the bands marked as alpha; none in a raster of one band."""
    marked = [i for i, c in zip(dataset.indexes, dataset.colorinterp, strict=True) if c == ColorInterp.alpha]
    return marked if dataset.count > 1 else []


def _warn_of_alpha(dataset: DatasetReader) -> None:
    """Warn where a band marked as alpha has the values of a spectral one."""
    alpha = _alpha_indexes(dataset)
    if not alpha:
        return
    height, width = dataset.shape
    values = np.unique(dataset.read(alpha[0], out_shape=(min(height, 256), min(width, 256))))
    if len(values) > 2:
        # GDAL marks the fourth 8-bit band of any new GeoTIFF as alpha, infrared or not.
        warnings.warn(
            f"Band {alpha[0]} is marked as alpha and taken as a mask, yet holds {len(values)} different "
            f"values. If it is a spectral band, give --bidx 1..{dataset.count}.",
            DualSRWarning,
            stacklevel=2,
        )


def _mask(dataset: DatasetReader, indexes: Sequence[int]) -> Literal["none", "shared", "own"]:
    flags = dataset.mask_flag_enums[indexes[0] - 1]
    if MaskFlags.alpha in flags:
        chosen = {dataset.colorinterp[i - 1] for i in indexes}
        return "none" if ColorInterp.alpha in chosen else "shared"
    if MaskFlags.per_dataset in flags:
        return "shared"
    return "own" if not flags else "none"


def _values(
    dataset: DatasetReader, indexes: Sequence[int], dtype: str, requested: float | None, where: str
) -> tuple[Decoding, Packing]:
    stated = [dataset.nodatavals[i - 1] for i in indexes]
    # By text, since NaN differs from itself; one warning per value, not per band.
    resolved = {
        repr(value): resolve_nodata(value, requested, dtype, where) for value in {repr(v): v for v in stated}.values()
    }
    nodata = tuple(resolved[repr(v)] for v in stated)
    scales = tuple(float(dataset.scales[i - 1]) for i in indexes)
    offsets = tuple(float(dataset.offsets[i - 1]) for i in indexes)
    divisor = dataset.tags(ns="ENVI").get("reflectance_scale_factor")
    if divisor is not None and set(scales) == {1.0} and set(offsets) == {0.0}:
        scales = (1 / reflectance_divisor(divisor, where),) * len(indexes)
    require_packing(scales, offsets, where, "Set the right one (gdal_edit.py -scale, -offset; scale_factor in netCDF).")
    first = next((n for n in nodata if n is not None), None)
    return Decoding(scales, offsets, nodata), Packing(dtype, scales, offsets, first)


def _bands(dataset: DatasetReader, indexes: Sequence[int]) -> tuple[Band, ...]:
    lists = from_envi(dataset.tags(ns="ENVI"), dataset.count)
    if dataset.driver == "netCDF":
        lists = netcdf_bands(dataset)
    # The tag `units` is that of rioxarray, of all bands.
    shared = dataset.tags()
    bands = (_band(dataset, i, lists, shared.get("wavelength_units")) for i in indexes)
    return tuple(b if b.unit else replace(b, unit=shared.get("units") or None) for b in bands)


def _band(dataset: DatasetReader, index: int, lists: Sequence[Spectrum], unit: str | None) -> Band:
    tags = dataset.tags(index)
    spectrum = from_tags(tags, unit)
    if lists:
        spectrum = spectrum.or_else(lists[index - 1])
    name = dataset.descriptions[index - 1]
    spectrum = from_imagery(dataset.tags(index, ns="IMAGERY"), spectrum).or_else(from_name(name))
    return Band(
        name=name,
        wavelength_nm=spectrum.wavelength_nm,
        fwhm_nm=spectrum.fwhm_nm,
        good=spectrum.good is not False,
        unit=dataset.units[index - 1] or None,
        color=dataset.colorinterp[index - 1].name,
        tags=tags,
    )


def _tags(dataset: DatasetReader) -> Mapping[str, Mapping[str, str]]:
    domains = [d for d in dataset.tag_namespaces() if d not in LAYOUT_DOMAINS and not d.startswith("xml:")]
    tags = {d: useful_tags(dataset.tags(ns=d or None)) for d in ["", *domains]}
    return {d: items for d, items in tags.items() if items}


# Control points that an affine grid takes. GDAL reads fewer from a TIFF whose pixels have no size.
MIN_CONTROL_POINTS = 3


def _geobox(dataset: DatasetReader, where: str) -> GeoBox:
    transform: Affine = netcdf_transform(dataset) if dataset.driver == "netCDF" else dataset.transform
    if transform == Affine.identity():
        points = len(dataset.gcps[0])
        if 0 < points < MIN_CONTROL_POINTS:
            raise InputError(
                f"{where} has the place of {points} pixel{'s' * (points > 1)} and no pixel size, so it has no grid. Set its extent "
                "(rio edit-info --transform, gdal_edit -a_ullr)."
            )
        if points:
            raise InputError(
                f"{where} is located by {points} ground control points, not by a grid. "
                "Warp it to a map grid first (rio warp, gdalwarp)."
            )
        if dataset.rpcs is not None:
            warnings.warn(
                f"{where} is located by rational polynomials (RPC), which are not supported: "
                "it is taken as an image without a georeference.",
                DualSRWarning,
                stacklevel=2,
            )
    if not math.isfinite(transform.determinant) or transform.determinant == 0:
        raise InputError(
            f"{where} has the transform {tuple(transform)[:6]}, in which a pixel has no area. "
            "Set the right one (rio edit-info --transform)."
        )
    text = netcdf_crs(dataset) if dataset.driver == "netCDF" else None
    return GeoBox(dataset.shape, transform, parse_crs(dataset.crs.to_wkt() if dataset.crs else text, where))


def _local_tiffs(dataset: DatasetReader) -> list[Path]:
    """Return the files of a TIFF on disk, overviews and masks included; none of a remote one, or one in an archive."""
    files = [Path(f) for f in dataset.files] if dataset.driver == "GTiff" else []
    return [f for f in files if f.is_file()]


def _require_mask_file(dataset: DatasetReader) -> None:
    """Check that GDAL reads the mask file next to a raster, where there is one: it ignores a damaged one."""
    mask = f"{dataset.files[0]}.msk" if dataset.files else ""
    if mask and mask not in dataset.files and Path(mask).is_file():
        raise InputError(
            f"{mask} is next to the raster and cannot be read as its mask: it is damaged. Fetch it again, or remove it "
            "if all pixels are valid."
        )


def _require_block(dataset: DatasetReader, index: int, where: str) -> None:
    """Check that the blocks of a band can be read; a file may keep all its bands in one block."""
    pixel = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    itemsize = pixel * np.dtype(dataset.dtypes[index - 1]).itemsize
    files = _local_tiffs(dataset)
    shape = (strip_shape(files[0]) if files else None) or dataset.block_shapes[index - 1]
    require_block(shape, itemsize, where, compressed=dataset.compression is not None)


def _read_last_block(source: RasterSource, dataset: DatasetReader) -> None:
    """Read the last block of the last band, so that a truncated file is detected when it is opened."""
    height, width = source.size
    rows, columns = dataset.block_shapes[source.indices[-1]]
    y0, x0 = (height - 1) // rows * rows, (width - 1) // columns * columns
    # As 64-bit floats: whether 32-bit ones hold the values is decided later.
    exact = source.normalized(Normalization.exact(len(source.indices)))
    exact.read(Window(y0, height, x0, width), [len(source.indices) - 1])
