"""Scenes from rasters, xarray objects, Zarr groups and products as delivered."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from dualsr_geo.argument_types import checked, flag, number, number_or_auto, raster_or_bands, text, text_or_numbers
from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.io.products.band_list import open_bands
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.products.registry import open_product
from dualsr_geo.io.readers.array_sources import ArraySource, ZarrSource
from dualsr_geo.io.readers.color_table import has_color_table, in_colors
from dualsr_geo.io.readers.damage import damage_as_input_error
from dualsr_geo.io.readers.gdal import Raster as OpenedRaster
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.rasterio_source import RasterSource
from dualsr_geo.io.readers.references.local import trusting
from dualsr_geo.io.readers.sensor_detection import add_sensor, add_sensor_of_bands
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.storage.folders.opening import archive_of, product_path
from dualsr_geo.io.storage.folders.paths import ProductPath, VirtualPath
from dualsr_geo.io.storage.names import expanded, fits_file_system, require_name
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import canonical, shown
from dualsr_geo.io.storage.web import require_answer
from dualsr_geo.io.storage.zarr_groups import is_zarr
from dualsr_geo.io.undeclared_fill import automatic_nodata
from dualsr_geo.io.wavelength_list import Given, WavelengthList, read_wavelengths
from dualsr_geo.raster.bands import parse_bidx
from dualsr_geo.raster.packing import Nodata
from dualsr_geo.raster.scene import Scene, preview
from dualsr_geo.raster.source import Source
from dualsr_geo.redaction import remember

if TYPE_CHECKING:
    import xarray as xr

Location = str | os.PathLike[str]
Raster: TypeAlias = "Location | xr.DataArray | xr.Dataset"

# Suffixes of the rasters that the message on an unknown folder lists, and how many of them.
RASTERS, MAX_NAMED = (".tif", ".tiff", ".jp2", ".img"), 12

__all__ = [
    "ArraySource",
    "Delivery",
    "RasterSource",
    "Scene",
    "Source",
    "ZarrSource",
    "open_delivered",
    "open_guides",
    "open_scene",
    "preview",
]


@reports_defects
@checked(
    where=raster_or_bands,
    bidx=text,
    nodata=number_or_auto,
    gsd=number,
    sensor=text,
    wavelengths=text_or_numbers,
    trust_references=flag,
)
def open_scene(
    where: Raster | Sequence[Location],
    *,
    bidx: str | None = None,
    nodata: Nodata = None,
    gsd: float | None = None,
    sensor: str | None = None,
    wavelengths: Given | None = None,
    trust_references: bool = False,
) -> Scene:
    """Open a scene, lazily: only metadata are read, and one block to check that the file is complete.

    Parameters
    ----------
    where : path, URL, DataArray or Dataset, or a list of paths
        A raster, a subdataset string, a Zarr group or an array in one, an xarray object, or a product
        as its provider delivers it (docs/products.md); of a list the bands of all files, which are on one grid.
    bidx : str, optional
        Bands to use, from 1, as in rio: ``"1"``, ``"1,3"``, ``"2..5"``. An alpha band that it names is used
        as a spectral band.
    nodata : float or "auto", optional
        Stored value of missing pixels, instead of the one that the file states. Masks and alpha bands
        apply in addition. ``"auto"`` is the value of undeclared fill, where the file states none and there is some
        (docs/conventions.md).
    gsd : float, optional
        Pixel size of the bands to use of a product with several, metres.
    sensor : str, optional
        The instrument (`dualsr_geo.sensors.sensors`), where the metadata do not name it, e.g. ``"cave"``
        for a MATLAB file.
    wavelengths : str or sequence of float, optional
        Those of the bands, instead of the file's: a text or CSV file, first and last in nm (``"400:2500"``), bands of a
        sensor (``"aviris-classic:4..107,113..153"``), or numbers. One for each band of the file.
    trust_references : bool
        Whether it may refer to files outside its folder, and from a store or the web outside its host, and whether
        any driver of GDAL may open it, also those of databases and services (docs/archives.md).

    Returns
    -------
    Scene
        Band, y, x; physical values; NaN where they are missing.

    Raises
    ------
    InputError
        If it is missing, damaged, ambiguous, or holds no real numbers on a grid.
    BandError
        If `bidx` names a band that does not exist.
    OptionError
        If `nodata` does not fit the stored type, no bands have the `gsd`, there is no such `sensor`, or
        the scene contradicts it.
    """
    return open_delivered(
        where,
        bidx=bidx,
        nodata=nodata,
        gsd=gsd,
        sensor=sensor,
        wavelengths=wavelengths,
        trust_references=trust_references,
    ).scene


def open_delivered(
    where: Raster | Sequence[Location],
    *,
    bidx: str | None = None,
    nodata: Nodata = None,
    gsd: float | None = None,
    sensor: str | None = None,
    wavelengths: Given | None = None,
    trust_references: bool = False,
) -> Delivery:
    """Open a scene as `open_scene` does, with the sharper bands of its product as guides.

    Returns
    -------
    Delivery
        Without guides, except for a product as delivered.
    """
    delivery = _delivered(
        where,
        bidx=bidx,
        nodata=nodata,
        gsd=gsd,
        sensor=sensor,
        wavelengths=wavelengths,
        trust_references=trust_references,
    )
    _warn_of_labels(delivery.scene)
    return delivery


def _delivered(
    where: Raster | Sequence[Location],
    *,
    bidx: str | None = None,
    nodata: Nodata = None,
    gsd: float | None = None,
    sensor: str | None = None,
    wavelengths: Given | None = None,
    trust_references: bool = False,
) -> Delivery:
    if isinstance(where, list | tuple):
        return _delivered_bands(
            [require_name(file, "scene or guide") for file in where],
            bidx=bidx, nodata=nodata, gsd=gsd, sensor=sensor, wavelengths=wavelengths, trust_references=trust_references,
        )  # fmt: skip
    if isinstance(where, str | os.PathLike):
        remember(require_name(where, "scene or guide"))
        where = path = canonical(where)
        name = shown(path)
        require_no_special_file(path)
        require_answer(path)
    else:
        where = cast("xr.DataArray | xr.Dataset", where)
        path, name = None, _name_of_array(where)
    listed = None if wavelengths is None else read_wavelengths(wavelengths)
    with damage_as_input_error(name), trusting(trust_references):
        opened = partial(_opened, where, path, bidx=bidx, gsd=gsd, sensor=sensor, listed=listed)
        if nodata != "auto":
            return opened(nodata=nodata)
        delivery = opened(nodata=None)
        value = automatic_nodata(delivery.scene)
        return delivery if value is None else opened(nodata=value)


def _delivered_bands(
    files: Sequence[str],
    *,
    bidx: str | None,
    nodata: Nodata,
    gsd: float | None,
    sensor: str | None,
    wavelengths: Given | None,
    trust_references: bool,
) -> Delivery:
    """Open several files as the bands of one scene."""
    if gsd is not None:
        raise OptionError(
            f"--gsd {gsd:g} selects among the pixel sizes of a product; several files have one. Leave it out."
        )
    listed = None if wavelengths is None else read_wavelengths(wavelengths)
    for file in files:
        require_no_special_file(canonical(file))
        require_answer(canonical(file))
    with damage_as_input_error(f"{shown(files[0])} and {len(files) - 1} more"), trusting(trust_references):
        delivery = open_bands(files, nodata=None if nodata == "auto" else nodata)
        if nodata == "auto" and (value := automatic_nodata(delivery.scene)) is not None:
            delivery = open_bands(files, nodata=value)
        scene = add_sensor(_with_wavelengths(delivery.scene, listed), sensor)
        return replace(delivery, scene=_selected(scene, bidx))


def _opened(
    where: Raster,
    path: str | None,
    *,
    bidx: str | None,
    nodata: float | None,
    gsd: float | None,
    sensor: str | None,
    listed: WavelengthList | None,
) -> Delivery:
    count = None if listed is None else listed.count
    product = None if path is None else open_product(path, gsd=gsd, sensor=sensor, nodata=nodata, count=count)
    if product is not None:
        scene = add_sensor(_with_wavelengths(product.scene, listed), sensor, product.sensor)
        return replace(product, scene=_selected(scene, bidx))
    if gsd is not None:
        raise OptionError(
            f"--gsd {gsd:g} selects among the pixel sizes of a product; {path or 'an array'} has one. Leave it out."
        )
    if not isinstance(where, str | os.PathLike):
        scene = _open_array(where, nodata)
    elif is_zarr(os.fspath(where)):
        scene = _open_zarr(os.fspath(where), nodata)
    else:
        raster = _open_file(os.fspath(where), bidx, nodata)
        bands = raster.bands if listed is None else listed.applied(raster.bands)
        return Delivery(add_sensor_of_bands(raster.scene, bands, raster.places, sensor))
    return Delivery(_selected(add_sensor(_with_wavelengths(scene, listed), sensor), bidx))


def _with_wavelengths(scene: Scene, listed: WavelengthList | None) -> Scene:
    return scene if listed is None else replace(scene, bands=listed.applied(scene.bands))


# xarray and the pandas that it loads take half a second, and a run from GeoTIFF to GeoTIFF needs neither. So the
# readers that need them are imported where an array or a Zarr group is opened.
def _name_of_array(array: xr.DataArray | xr.Dataset) -> str:
    from xarray import DataArray  # noqa: PLC0415

    return f"The array {array.name or 'scene'}" if isinstance(array, DataArray) else "The Dataset"


def _open_array(array: xr.DataArray | xr.Dataset, nodata: float | None) -> Scene:
    from xarray import DataArray  # noqa: PLC0415

    from dualsr_geo.io.readers.xarray_objects import open_array, open_dataset  # noqa: PLC0415

    return open_array(array, nodata=nodata) if isinstance(array, DataArray) else open_dataset(array, nodata=nodata)


def _open_zarr(where: str, nodata: float | None) -> Scene:
    from dualsr_geo.io.readers.zarr import open_zarr  # noqa: PLC0415

    return open_zarr(where, nodata=nodata)


def open_guides(where: Raster, *, trust_references: bool = False) -> tuple[Scene, ...]:
    """Open the guides that a path offers: the sharpest bands of a product as delivered, else the whole image.

    A color table becomes red, green and blue.
    """
    delivery = _delivered(where, trust_references=trust_references)
    return delivery.guides or (in_colors(delivery.scene),)


def open_own_bands(where: Raster, *, trust_references: bool = False) -> Scene | None:
    """Open the coarser bands of a product as delivered, which its sharpest bands can sharpen; None for other images."""
    delivery = _delivered(where, trust_references=trust_references)
    return delivery.scene if delivery.guides else None


def _warn_of_labels(scene: Scene) -> None:
    """Warn where a scene is a map of classes, by its metadata."""
    thematic = any(t.get("LAYER_TYPE", "").lower() == "thematic" for t in (scene.bands[0].tags, scene.tags.get("", {})))
    if thematic or has_color_table(scene):
        warnings.warn(
            f"{shown(next(iter(scene.source.files_read()), scene.name))} looks like a map of labels "
            f"({'LAYER_TYPE=thematic' if thematic else 'colour table'}): "
            "the mean of classes 1 and 3 is not class 2. Give measured values.",
            DualSRWarning,
            stacklevel=2,
        )


def _selected(scene: Scene, bidx: str | None) -> Scene:
    return scene if bidx is None else scene.select(parse_bidx(bidx, scene.count))


def _open_file(where: str, bidx: str | None, nodata: float | None) -> OpenedRaster:
    folder = _folder_or_archive(where)
    files = [] if folder is None else _rasters_in(folder)
    if isinstance(folder, VirtualPath) and len(files) == 1:
        return open_raster(os.fspath(files[0]), bidx=bidx, nodata=nodata)
    try:
        return open_raster(where, bidx=bidx, nodata=nodata)
    except InputError as error:
        if folder is None:
            raise
        raise InputError(_folder_text(where, files)) from error


def _folder_or_archive(where: str) -> ProductPath | None:
    """Return a folder, or one in an archive, or the archive; None for anything else."""
    if expanded(where).is_dir():
        return expanded(where)
    path = product_path(where) if fits_file_system(where) and archive_of(expanded(where)) is not None else None
    return path if path is not None and path.is_dir() else None


def _rasters_in(folder: ProductPath) -> list[ProductPath]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix.lower() in RASTERS)
    except OSError:
        return []


def _folder_text(where: str, files: Sequence[ProductPath]) -> str:
    """Return why a folder is not opened, with the rasters in it, which the user may list."""
    if not files and not expanded(where).is_dir():
        return f"{where} holds no product that is known, and no raster. Give another archive, or unpack it and give a file."
    if not files:
        return (
            f"{where} is a folder without a product that can be opened: it has no MTD_MSIL1C.xml or MTD_MSIL2A.xml "
            "(Sentinel-2), *_MTL.txt (Landsat), ENMAP*-METADATA.XML or *.IMD (Maxar), and is not Zarr. Give a file in it."
        )
    names = ", ".join(f.name for f in files[:MAX_NAMED])
    names += f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
    several = f"Give one, or several of one grid as bands: {files[0].name} {files[-1].name} ... -o OUTPUT."
    return f"{where} holds no product that is known. It holds {names}. {several if len(files) > 1 else 'Give it.'}"
