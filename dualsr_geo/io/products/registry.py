"""Readers of products as delivered: which one opens a path.

A reader is a module with the two functions of `ProductReader`. To add one, write the module in this
package and add it to `READERS`; the order does not matter, since no path may look like the product of
two readers. A reader outside the package is named by its sensor (`Sensor.opener`) and is used where that
sensor is given.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from dualsr_geo.io.products import emit, enmap, landsat, maxar, prisma, sentinel2
from dualsr_geo.io.products.arrays import hdf5, matlab, numpy_files
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.readers.references.local import require_own_hdf5
from dualsr_geo.io.storage.names import expanded, fits_file_system
from dualsr_geo.sensors.registry import find


class ProductReader(Protocol):
    """What a reader module holds."""

    def looks_like(self, path: Path, /) -> bool:
        """Say whether a path, absolute and perhaps missing, is the product of this reader; cheaply."""
        ...

    def open_delivery(self, path: Path, /, *, gsd: float | None, sensor: str | None, nodata: float | None) -> Delivery:
        """Open the product; the parameters are those of `open_product`."""
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


ARRAY_READERS: tuple[ArrayReader, ...] = (matlab, numpy_files, hdf5)
READERS: tuple[ProductReader, ...] = (sentinel2, landsat, enmap, prisma, emit, maxar, *ARRAY_READERS)


def open_product(
    where: str, *, gsd: float | None, sensor: str | None, nodata: float | None, count: int | None = None
) -> Delivery | None:
    """Open a product as delivered; None if no reader recognises the path.

    Parameters
    ----------
    where : str
        A file or a folder; a subdataset or a URL is no delivery.
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
    path = _absolute(where)
    reader = next((r for r in _readers(sensor) if r.looks_like(path)), None)
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
    path = _absolute(where)
    return any(r.looks_like(path) for r in _readers(sensor))


def _absolute(where: str) -> Path:
    """Return a path that has a name, which "." has not, and that is valid on workers elsewhere."""
    return Path(os.path.abspath(expanded(where)))


def _readers(sensor: str | None) -> tuple[ProductReader, ...]:
    """Return the reader of a sensor first, then those of the package."""
    opener = None if sensor is None else find(sensor).opener
    if opener is None:
        return READERS
    own = cast("ProductReader", import_module(opener.partition(":")[0]))
    return (own, *READERS)
