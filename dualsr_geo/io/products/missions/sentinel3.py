"""Sentinel-3 products, which are in swath geometry: recognised, and refused with the way to a grid."""

from __future__ import annotations

import re
from typing import NoReturn

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.folders.paths import ProductPath

# S3A_SL_2_LST____20230612T094512_...SEN3: OLCI and SLSTR, level 1 and 2.
FOLDER = re.compile(r"S3[A-D]_(?:SL_[12]|OL_[12])_\w+\.SEN3", re.IGNORECASE)
MANIFEST = "xfdumanifest.xml"


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is the folder of an OLCI or SLSTR product, or its manifest."""
    folder = path.parent if path.name == MANIFEST else path
    return FOLDER.fullmatch(folder.name) is not None


def open_delivery(
    path: ProductPath,
    *,
    gsd: float | None = None,  # noqa: ARG001  # as every reader has it
    sensor: str | None = None,  # noqa: ARG001
    nodata: float | None = None,  # noqa: ARG001
) -> NoReturn:
    """Refuse the product: its pixels are located one by one, by latitudes and longitudes.

    Raises
    ------
    InputError
        Always.
    """
    folder = path.parent if path.name == MANIFEST else path
    raise InputError(
        f"{folder.name} is in swath geometry, which is not a map grid. Make a grid (SNAP: gpt Reproject -Pcrs=EPSG:n "
        f"-f GeoTIFF -t grid.tif {MANIFEST}; or satpy's resample), and give that raster."
    )
