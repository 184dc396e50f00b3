"""ECOSTRESS tiled land surface temperature (L2T LSTE): one band in kelvin."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band

# ECOv002_L2T_LSTE_28527_009_10TEK_20230718T081442_0710_01_LST.tif
GRANULE = re.compile(r"ECOv\d{3}_L2T_LSTE_\d{5}_\d{3}_\w{5}_(?P<time>\d{8}T\d{6})_\w+", re.IGNORECASE)
PREFIX, TEMPERATURE = "ECOv", "_LST.tif"
GSD_M = 70.0


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is the folder of an L2T LSTE granule, or its ``_LST.tif``."""
    if path.is_dir():
        return GRANULE.fullmatch(path.name) is not None or bool(_temperatures(path))
    return path.name.endswith(TEMPERATURE) and GRANULE.fullmatch(path.stem) is not None


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the temperature; clouds are not masked.

    Parameters
    ----------
    path : ProductPath
        The folder of a granule, or its ``_LST.tif``.
    gsd : float or None
        70 m, the only pixel size.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of the one of the file, NaN.

    Raises
    ------
    InputError
        If the temperature is missing, or that of several granules is in the folder.
    OptionError
        If `gsd` is not 70 m.
    """
    del sensor
    files = _temperatures(path) if path.is_dir() else [path]
    if len(files) != 1:
        raise InputError(f"{path} holds {len(files)} files *{TEMPERATURE}, not one. Give that of the granule.")
    file = files[0]
    if not file.is_file():
        raise InputError(f"{file} does not exist. Fetch it.")
    choose_gsd({GSD_M: ("LST",)}, gsd, file.name)
    opened = open_raster(os.fspath(file), bidx="1", nodata=nodata).scene
    match = GRANULE.fullmatch(file.stem)
    tags = {"SENSOR": "ECOSTRESS", "PROCESSING_LEVEL": "L2T"} | ({"ACQUISITION": match["time"]} if match else {})
    scene = replace(opened, bands=(Band("LST", unit="K"),), tags={"": tags}, name=file.stem)
    notes = (
        "ECOSTRESS L2T LSTE: LST.",
        "Values are land surface temperature in kelvin; clouds (_cloud.tif) are not masked.",
    )
    return Delivery(scene, (), "", "L2T", notes)


def _temperatures(folder: ProductPath) -> list[ProductPath]:
    return sorted(f for f in folder.glob(f"{PREFIX}*{TEMPERATURE}") if GRANULE.fullmatch(f.stem))
