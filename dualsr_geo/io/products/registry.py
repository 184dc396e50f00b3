"""Which kind of delivery a path is; a kind is a module with `looks_like` and `open_delivery`."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

from dualsr_geo.io.products import emit, enmap, landsat, matlab, maxar, prisma, sentinel2
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.sensors.registry import find

KINDS: tuple[ModuleType, ...] = (sentinel2, landsat, enmap, prisma, emit, maxar, matlab)


def open_product(where: str, *, gsd: float | None, sensor: str | None, nodata: float | None) -> Delivery | None:
    """Open a product as delivered; None if the path is none of the kinds that are known.

    Parameters
    ----------
    where : str
        A file or a folder; a subdataset or a URL is no delivery.
    gsd : float or None
        Which bands of a product with several pixel sizes, metres.
    sensor : str or None
        Whose it is, where the product does not say; a plugin's sensor also brings its kind.
    nodata : float or None
        Instead of the product's own.

    Raises
    ------
    DualSRError
        If it is a delivery that cannot be opened as asked.
    """
    path = _absolute(where)
    kind = next((k for k in _kinds(sensor) if k.looks_like(path)), None)
    if kind is None:
        return None
    opened: Delivery = kind.open_delivery(path, gsd=gsd, sensor=sensor, nodata=nodata)
    return opened


def is_delivery(where: str, sensor: str | None = None) -> bool:
    """Say whether a path looks like a product as delivered."""
    path = _absolute(where)
    return any(k.looks_like(path) for k in _kinds(sensor))


def _absolute(where: str) -> Path:
    """Return a path that has a name, which "." has not, and that workers elsewhere find."""
    return Path(os.path.abspath(Path(where).expanduser()))


def _kinds(sensor: str | None) -> tuple[ModuleType, ...]:
    opener = None if sensor is None else find(sensor).opener
    if opener is None or opener.partition(":")[0] in {k.__name__ for k in KINDS}:
        return KINDS
    return (import_module(opener.partition(":")[0]), *KINDS)
