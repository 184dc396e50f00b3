"""Open a raster by GDAL after a look at what it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.dataset_cache import open_quietly, reason
from dualsr_geo.io.readers.references.drivers import HDF5_FORMATS, SELF_CONTAINED, VRT_FORMATS, family
from dualsr_geo.io.readers.references.local import (
    FLAG,
    allowed_drivers,
    named_files,
    require_own_files,
    require_own_files_of,
    trusted,
)
from dualsr_geo.io.readers.references.remote import allowed_remote_drivers
from dualsr_geo.io.storage.object_store import explain_gdal
from dualsr_geo.io.storage.urls import is_web, shown, url_of
from dualsr_geo.io.storage.web import NO_SIDECARS, sidecar_options
from dualsr_geo.redaction import redact

# GDAL's words for a file that no driver opens.
UNRECOGNIZED = "not recognized as being in a supported file format"


@dataclass(frozen=True)
class Access:
    """How a raster is opened, here and on workers.

    Attributes
    ----------
    config : tuple of (str, str)
        GDAL options.
    drivers : tuple of str
        Those that may open it; empty for any.
    """

    config: tuple[tuple[str, str], ...] = ()
    drivers: tuple[str, ...] = SELF_CONTAINED


def open_checked(uri: str, where: str) -> tuple[DatasetReader, Access]:
    """Open a raster, and return how it is opened again.

    Parameters
    ----------
    uri : str
        What rasterio opens.
    where : str
        The location as the user gave it.

    Raises
    ------
    InputError
        If it cannot be opened, or refers to files that it may not refer to.
    """
    access = Access(sidecar_options(uri), allowed_drivers(uri))
    # Raw files may be shorter than their header says; GDAL would read zeros there.
    with rasterio.Env(RAW_CHECK_FILE_SIZE="YES"):
        try:
            dataset, access = _open(uri, access)
        except RasterioError as error:
            raise InputError(_explained(uri, where, error)) from (None if url_of(uri) is not None else error)
    require_own_files(dataset, uri)
    for source in named_files(uri):
        _require_own_source(source, uri)
    return dataset, access


def _require_own_source(source: str, uri: str) -> None:
    """Check a file that a VRT names: GDAL opens it by any driver, and some formats name files of their own."""
    if not Path(source).is_file():
        return
    try:
        with open_quietly(source, (), (*SELF_CONTAINED, *HDF5_FORMATS, *VRT_FORMATS)) as dataset:
            require_own_files_of(dataset, source, uri)
    except RasterioError as error:
        raise InputError(
            f"{shown(uri)} refers to {shown(source)}, which cannot be opened: {redact(reason(error, source))}. "
            f"Fetch it again, or give {FLAG} if you trust the file."
        ) from error


def _open(uri: str, access: Access) -> tuple[DatasetReader, Access]:
    try:
        dataset = open_quietly(uri, access.config, access.drivers)
    except RasterioError as error:
        is_known = url_of(uri) is None or trusted() or UNRECOGNIZED not in str(error)
        drivers = () if is_known else allowed_remote_drivers(uri)
        if not drivers:
            raise
        # Of the sources of a VRT no sidecars are sought.
        access = Access(NO_SIDECARS if drivers == VRT_FORMATS else access.config, drivers)
        dataset = open_quietly(uri, access.config, drivers)
    return dataset, Access(_config_again(dataset, uri, access.config), family(dataset.driver))


def _config_again(dataset: DatasetReader, uri: str, config: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the options for the next openings: what was not next to a file on the web is not sought again."""
    if not is_web(uri) or not dataset.count:
        return config
    # GDAL seeks overviews when they are needed, and lists them from then on.
    dataset.overviews(1)
    return NO_SIDECARS if len(dataset.files) <= 1 else config


def _explained(uri: str, where: str, error: RasterioError) -> str:
    if url_of(uri) is not None:
        return explain_gdal(where, reason(error, uri))
    in_archive = "An archive is opened for rasters that name no other files: unpack it for a VRT or HDF5. "
    hint = in_archive if uri.startswith("/vsi") and UNRECOGNIZED in str(error) else ""
    return (
        f"{shown(where)} cannot be opened: {redact(reason(error, uri))}. {hint}Give a raster that GDAL opens, or a Zarr "
        f"group{'' if not hint else f', or {FLAG}'}."
    )
