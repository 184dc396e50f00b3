"""CBERS-4, CBERS-4A and Amazonia-1 scenes of INPE: a folder of one GeoTIFF a band, WPM's guided by its pan band."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, stack
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

# CBERS_4A_WPM_20200730_209_139_L4_BAND0.tif; AMAZONIA_1_WFI_20210301_033_018_L4_BAND1.tif
_FILE = re.compile(r"(?i)^((CBERS_4A?|AMAZONIA_1)_([A-Z0-9]+)_(\d{8})_\d+_\d+_(?:[A-Z0-9]+_)?(L\w+))_BAND(\d+)\.tiff?$")
# Edges of the bands, nm, by camera and number (INPE, cbers.inpe.br: characteristics of the cameras of CBERS-4 and -4A).
_VISIBLE = ((450.0, 520.0), (520.0, 590.0), (630.0, 690.0), (770.0, 890.0))
EDGES_NM = {
    "WPM": {0: (450.0, 900.0)} | dict(enumerate(_VISIBLE, 1)),
    "MUX": dict(enumerate(_VISIBLE, 5)),
    "WFI": dict(enumerate(_VISIBLE, 13)),
    "AWFI": dict(enumerate(_VISIBLE, 13)),
    "PAN5M": {1: (510.0, 850.0)},
    "PAN10M": dict(enumerate(_VISIBLE[1:], 2)),
}
# WPM's panchromatic band.
PAN = 0
SENSORS = {("CBERS_4A", "WPM"): "cbers-4a-wpm"}
NODATA = 0.0


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a folder of files of one band of CBERS-4, CBERS-4A or Amazonia-1."""
    return path.is_dir() and any(_FILE.match(file.name) for file in path.iterdir())


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the bands of one pixel size, guided by the panchromatic band where it is sharper.

    Values are stored counts.

    Parameters
    ----------
    path : ProductPath
        The folder.
    gsd : float or None
        Pixel size of the bands, metres; by default that of the multispectral ones.
    sensor : str or None
        Not used: the names of the files state the camera.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If the folder holds several scenes, or a band cannot be opened.
    OptionError
        If there are no bands of `gsd`.
    """
    del sensor
    matches = sorted((int(m[6]), file, m) for file in path.iterdir() if (m := _FILE.match(file.name)))
    scenes = sorted({m[1] for _, _, m in matches})
    if len(scenes) > 1:
        raise InputError(f"{path} holds {len(scenes)} scenes ({scenes[0]}, {scenes[1]}, ...). Give a folder of one.")
    first = matches[0][2]
    satellite, camera, day, level = first[2].upper(), first[3].upper(), first[4], first[5].upper()
    bands = {n: _band(file, _spectrum(camera, n), nodata) for n, file, _ in matches}
    groups: dict[float, list[int]] = {}
    for number, scene in bands.items():
        groups.setdefault(round(grid.gsd(scene.geobox), 3), []).append(number)
    notes = ["Values are stored counts."]
    pan_group = next((g for g, numbers in groups.items() if PAN in numbers and len(numbers) > 1), None)
    if camera == "WPM" and pan_group is not None:
        groups[pan_group].remove(PAN)
        notes.append("BAND0, the panchromatic band, has the pixel size of the others and is left out.")
    own, sharp = choose_gsd({g: [f"BAND{n}" for n in numbers] for g, numbers in groups.items()}, gsd, path.name)
    name = SENSORS.get((satellite, camera), "")
    tags = {
        "": {
            "SENSOR": name or f"{satellite} {camera}".replace("_", "-"),
            "PROCESSING_LEVEL": level,
            "ACQUISITION": f"{day[:4]}-{day[4:6]}-{day[6:]}",
        }
    }

    def opened(size: float) -> Scene:
        return replace(stack([bands[n] for n in groups[size]], first[1]), tags=tags)

    guides = () if sharp is None else (opened(sharp),)
    return Delivery(opened(own), guides, name, level, tuple(notes), gsds=tuple(sorted(groups)))


def _spectrum(camera: str, number: int) -> Band:
    edges = EDGES_NM.get(camera, {}).get(number)
    name = f"BAND{number}"
    return Band(name) if edges is None else Band(name, sum(edges) / 2, edges[1] - edges[0])


def _band(file: ProductPath, band: Band, nodata: float | None) -> Scene:
    scene = open_raster(os.fspath(file), bidx="1", nodata=NODATA if nodata is None else nodata).scene
    return replace(scene, bands=(band,))
