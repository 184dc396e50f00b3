"""A scene of several files that the user lists, in the order of its bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, grid_text, stack
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.urls import canonical, shown
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.wavelengths import from_name
from dualsr_geo.redaction import remember

# The number of a band at the end of the name of its file, as in T33UUB_B05_20m and LC08_..._SR_B4.
_NUMBERED = re.compile(r"(?i)(?:^|[_\W])(B(?:AND)?_?\d{1,2}A?)(?:_\d+m)?$")


def open_bands(files: Sequence[str], *, nodata: float | None) -> Delivery:
    """Open files of one grid as one scene.

    Parameters
    ----------
    files : sequence of str
        Paths or URLs; of a file of several bands all are taken.
    nodata : float or None
        Instead of that of the files.

    Raises
    ------
    InputError
        If one cannot be opened, is listed twice, or is on another grid than the first.
    """
    places = [canonical(file) for file in files]
    if len(set(places)) < len(places):
        twice = next(p for p in places if places.count(p) > 1)
        raise InputError(f"{shown(twice)} is listed twice among the bands. List each file once.")
    remember(*places)
    scenes = [_named(open_raster(place, bidx=None, nodata=nodata).scene, place) for place in places]
    first = scenes[0]
    for place, other in zip(places, scenes, strict=True):
        if other.geobox != first.geobox:
            raise InputError(
                f"{shown(place)} is {grid_text(other)}, but {shown(places[0])} is {grid_text(first)}: the bands of a scene are on one "
                f"grid. Warp one to the other (rio warp --like), or give a sharper image as --rgb {shown(place)}."
            )
    name = f"{Path(shown(places[0])).stem}_{len(places)}_files"
    return Delivery(stack(scenes, name), notes=(f"Opened as {len(places)} files, {_count(scenes)}.",))


def _count(scenes: Sequence[Scene]) -> str:
    names = [b.name or "?" for s in scenes for b in s.bands]
    return f"bands {', '.join(names)}" if len(names) <= len(scenes) + 8 else f"{len(names)} bands"


def _named(scene: Scene, place: str) -> Scene:
    """Return the scene of a file of one band with the band's name, by that of the file where it has none."""
    band = scene.bands[0]
    if scene.count != 1 or band.name:
        return scene
    stem = Path(shown(place)).stem
    match = _NUMBERED.search(stem)
    name = match[1] if match else stem
    spectrum = from_name(name)
    named = replace(band, name=name, wavelength_nm=band.wavelength_nm or spectrum.wavelength_nm)
    return replace(scene, bands=(named,))
