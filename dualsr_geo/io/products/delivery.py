"""A product as its provider delivers it: the scene in it, and its own sharper bands as guides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.readers.band_stack import BandStack
from dualsr_geo.io.readers.rasterio_source import RasterSource
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.scene import Scene
from dualsr_geo.sensors.registry import find

# A pixel of 1.98 m is meant by --gsd 2.
GSD_TOLERANCE = 0.02
# More bands are counted, not named.
MOST_NAMED = 13


@dataclass(frozen=True)
class Delivery:
    """What was opened.

    Attributes
    ----------
    scene : Scene
    guides : tuple of Scene
        The product's own sharper bands; empty where it has none.
    sensor : str
        By its name in the sensor registry; empty for a plain raster.
    level : str
        As the provider calls it, e.g. ``"L2A"``.
    notes : tuple of str
        What was decided in opening it, a sentence each.
    """

    scene: Scene
    guides: tuple[Scene, ...] = ()
    sensor: str = ""
    level: str = ""
    notes: tuple[str, ...] = ()


def describe_delivery(found: Delivery, *, lent: bool) -> tuple[str, ...]:
    """Return what a person should know of how a product was opened; nothing of a plain raster.

    Parameters
    ----------
    found : Delivery
    lent : bool
        Whether a guide is given, so that the product's own bands are not used.
    """
    if not found.sensor:
        return ()
    own = () if lent else tuple(f"Guided by the product's own {_bands(g)}." for g in found.guides)
    return (f"Opened as {found.sensor} {found.level}".rstrip() + f": {_bands(found.scene)}.", *own, *found.notes)


def _bands(scene: Scene) -> str:
    names = [b.name for b in scene.bands if b.name]
    some = f"{scene.count} bands" if not 0 < len(names) <= MOST_NAMED else ", ".join(names)
    size = "" if grid.is_bare(scene.geobox) else f" at {grid.gsd(scene.geobox):.4g} {grid.unit(scene.geobox)}"
    return some + size


def choose_gsd(groups: Mapping[float, Sequence[str]], gsd: float | None, where: str) -> tuple[float, float | None]:
    """Choose the bands of a product whose bands have several pixel sizes.

    Parameters
    ----------
    groups : mapping of float to sequence of str
        Names of the bands of each GSD, metres.
    gsd : float or None
        The one asked for; left out, the largest group that is coarser than the finest.
    where : str
        What to call the product in an error.

    Returns
    -------
    tuple
        GSD of the scene, and that of its guide: the finest, or None where the scene has it itself.

    Raises
    ------
    OptionError
        If no band has the GSD asked for.
    """
    finest = min(groups)
    chosen: float | None = max(groups, key=lambda g: (g > finest, len(groups[g])))
    if gsd is not None:
        chosen = next((g for g in groups if math.isclose(g, gsd, rel_tol=GSD_TOLERANCE)), None)
    if chosen is None:
        has = "; ".join(f"{g:g} m ({', '.join(groups[g])})" for g in sorted(groups))
        raise OptionError(f"--gsd {gsd:g} m is none of the pixel sizes in {where}: {has}. Give one of these.")
    return chosen, finest if chosen > finest else None


def repacked(scene: Scene, scales: Sequence[float], offsets: Sequence[float], unit: str | None = None) -> Scene:
    """Return a raster's scene with the scales and offsets that its product documents, one a band."""
    source = scene.source
    if not isinstance(source, RasterSource):
        raise TypeError(f"{scene.name} is no raster")
    packing = replace(scene.packing, scales=tuple(scales), offsets=tuple(offsets))
    decoding = Decoding(packing.scales, packing.offsets, source.decoding.nodata)
    bands = tuple(replace(b, unit=unit or b.unit) for b in scene.bands)
    return replace(scene, source=replace(source, decoding=decoding), packing=packing, bands=bands)


def stack(scenes: Sequence[Scene], name: str) -> Scene:
    """Return rasters of one grid as one scene, bands in their order.

    Raises
    ------
    InputError
        If two of them differ in grid or stored type.
    """
    first = scenes[0]
    for other in scenes[1:]:
        ours, theirs = ((s.geobox.shape, s.geobox.crs, tuple(s.geobox.affine), s.packing.dtype) for s in (first, other))
        if ours != theirs:
            raise InputError(
                f"{other.name} is {_grid(other)}, but {first.name} is {_grid(first)}: they are no bands of one product. "
                "Fetch the delivery again."
            )
    packings = [s.packing for s in scenes]
    packing = replace(
        first.packing,
        scales=tuple(v for p in packings for v in p.scales),
        offsets=tuple(v for p in packings for v in p.offsets),
    )
    bands = tuple(b for s in scenes for b in s.bands)
    return replace(first, source=BandStack.of([s.source for s in scenes]), bands=bands, packing=packing, name=name)


def _grid(scene: Scene) -> str:
    height, width = scene.shape
    at = scene.geobox.affine
    return f"{height} x {width} {scene.packing.dtype} pixels of {at.a:g} from x {at.c:.8g}, y {at.f:.8g}"


def named_bands(sensor: str, names: Sequence[str], unit: str | None = None) -> tuple[Band, ...]:
    """Return bands with the centre and width that the registry has for them; a name alone where it has none.

    Parameters
    ----------
    sensor : str
        By its name in the registry.
    names : sequence of str
    unit : str or None
        Of the values.
    """
    known = {b.name: b for b in find(sensor).bands}
    return tuple(
        Band(n, known[n].wavelength_nm, known[n].fwhm_nm, unit=unit) if n in known else Band(n, unit=unit)
        for n in names
    )
