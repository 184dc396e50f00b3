"""Readers of products as delivered: which one opens a path.

A reader is a module with the two functions of `ProductReader`. To add one, write the module in this
package and add it to `READERS`; the order does not matter, since no path may look like the product of
two readers. A reader outside the package is named by its sensor (`Sensor.opener`) and is used where that
sensor is given.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from dualsr_geo.errors import DualSRWarning
from dualsr_geo.io.products import emit, enmap, landsat, maxar, prisma
from dualsr_geo.io.products.arrays import hdf5, matlab, numpy_files
from dualsr_geo.io.products.commercial import dimap, planetscope
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.products.missions import cbers, ecostress, eo1, hls, sentinel3
from dualsr_geo.io.products.sentinel2 import eopf, folders, safe
from dualsr_geo.io.products.spectrometers import desis, tanager
from dualsr_geo.io.products.stac.documents import is_stac
from dualsr_geo.io.products.stac.scene import open_item
from dualsr_geo.io.readers.references.local import require_own_hdf5
from dualsr_geo.io.storage.folders.archives import is_compressed
from dualsr_geo.io.storage.folders.opening import product_path
from dualsr_geo.io.storage.folders.paths import ProductPath, VirtualPath
from dualsr_geo.io.storage.names import fits_file_system
from dualsr_geo.io.storage.urls import is_url
from dualsr_geo.sensors.registry import find


class ProductReader(Protocol):
    """What a reader module of products in folders holds, which may be in an archive or in a store."""

    def looks_like(self, path: ProductPath, /) -> bool:
        """Say whether a path, absolute and perhaps missing, is the product of this reader; cheaply."""
        ...

    def open_delivery(
        self, path: ProductPath, /, *, gsd: float | None, sensor: str | None, nodata: float | None
    ) -> Delivery:
        """Open the product; the parameters are those of `open_product`."""
        ...


class FileReader(Protocol):
    """What a reader module of files on disk holds."""

    def looks_like(self, path: Path, /) -> bool:
        """See `ProductReader`."""
        ...

    def open_delivery(self, path: Path, /, *, gsd: float | None, sensor: str | None, nodata: float | None) -> Delivery:
        """See `ProductReader`."""
        ...


class ArrayReader(Protocol):
    """What a reader module of files of arrays holds, which do not state their number of bands."""

    def looks_like(self, path: Path, /) -> bool:
        """See `ProductReader`."""
        ...

    def open_delivery(
        self, path: Path, /, *, gsd: float | None, sensor: str | None, nodata: float | None, count: int | None = None
    ) -> Delivery:
        """Open a scene of `count` bands, where the user gives their wavelengths."""
        ...


# Of what is no file or folder: what recognises a path or URL, and what opens it.
LOCATION_READERS = ((is_stac, open_item), (eopf.looks_like, eopf.open_delivery))
ARRAY_READERS: tuple[ArrayReader, ...] = (matlab, numpy_files, hdf5)
# Landsat first: the URL of a band is recognised by its name, without a request.
FOLDER_READERS: tuple[ProductReader, ...] = (
    landsat,
    safe,
    folders,
    enmap,
    maxar,
    cbers,
    dimap,
    planetscope,
    desis,
    eo1,
    hls,
    ecostress,
    sentinel3,
)
READERS: tuple[FileReader, ...] = (*FOLDER_READERS, prisma, emit, tanager, *ARRAY_READERS)


def open_product(
    where: str, *, gsd: float | None, sensor: str | None, nodata: float | None, count: int | None = None
) -> Delivery | None:
    """Open a product as delivered; None if no reader recognises the path.

    Parameters
    ----------
    where : str
        A file or a folder on disk, an archive, or the URL of a folder or of a metadata file; see `product_path`.
    gsd : float or None
        Selects the bands of a product with several pixel sizes, metres.
    sensor : str or None
        The instrument, where the product does not state it; its own reader is tried first.
    nodata : float or None
        Instead of the nodata value of the product.
    count : int or None
        Number of bands, where the user gives their wavelengths; for a file of arrays, which does not state it.

    Raises
    ------
    DualSRError
        If the product cannot be opened with these options.
    """
    if not fits_file_system(where):
        return None
    opens = next((opens for looks_like, opens in LOCATION_READERS if looks_like(where)), None)
    if opens is not None:
        return opens(where, gsd=gsd, sensor=sensor, nodata=nodata)
    path = product_path(where)
    if isinstance(path, VirtualPath):
        return _open_virtual(path, gsd=gsd, sensor=sensor, nodata=nodata)
    reader = next((r for r in _readers_of(where, sensor) if r.looks_like(path)), None)
    if reader is None:
        return None
    require_own_hdf5(path if path.exists() else Path(str(path).partition("#")[0]))
    for arrays in ARRAY_READERS:
        if arrays is reader:
            return arrays.open_delivery(path, gsd=gsd, sensor=sensor, nodata=nodata, count=count)
    return reader.open_delivery(path, gsd=gsd, sensor=sensor, nodata=nodata)


def is_delivery(where: str, sensor: str | None = None) -> bool:
    """Say whether a path looks like a product as delivered, which may bring its own guide."""
    if not fits_file_system(where) or "\0" in where:
        return False
    if any(looks_like(where) for looks_like, _ in LOCATION_READERS):
        return True
    path = product_path(where)
    if isinstance(path, VirtualPath):
        return any(r.looks_like(path) for r in _folder_readers(sensor))
    return any(r.looks_like(path) for r in _readers_of(where, sensor))


def _open_virtual(path: VirtualPath, *, gsd: float | None, sensor: str | None, nodata: float | None) -> Delivery | None:
    """Open a product in an archive or in a store; None if no reader recognises it."""
    reader = next((r for r in _folder_readers(sensor) if r.looks_like(path)), None)
    if reader is None:
        return None
    if is_compressed(path.parts[0]):
        warnings.warn(
            f"{path.parts[0]} is compressed as a whole: every part is found by decompressing all before it, which is slow "
            "for a whole scene. Decompress it once (gunzip), and give the .tar.",
            DualSRWarning,
            stacklevel=2,
        )
    return reader.open_delivery(path, gsd=gsd, sensor=sensor, nodata=nodata)


def _readers_of(where: str, sensor: str | None) -> tuple[FileReader, ...]:
    """Return the readers of what is no `VirtualPath`; of the URL of a raster, which GDAL opens, those of files only."""
    readers = _readers(sensor)
    return tuple(r for r in readers if r not in FOLDER_READERS) if is_url(where) else readers


def _readers(sensor: str | None) -> tuple[FileReader, ...]:
    """Return the reader of a sensor first, then those of the package."""
    opener = None if sensor is None else find(sensor).opener
    return READERS if opener is None else (cast("FileReader", import_module(opener.partition(":")[0])), *READERS)


def _folder_readers(sensor: str | None) -> tuple[ProductReader, ...]:
    """Return the reader of a sensor first, if it is none of files, then those of folders of the package."""
    own = _readers(sensor)[0]
    return FOLDER_READERS if own in READERS else (cast("ProductReader", own), *FOLDER_READERS)
