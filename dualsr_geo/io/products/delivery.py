"""Products as delivered: the scene of a product, with its own sharper bands as guides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.readers.band_stack import BandStack
from dualsr_geo.io.readers.rasterio_source import RasterSource
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Decoding, require_packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.sensors.registry import find

# Relative tolerance of --gsd: 2 selects pixels of 1.98 m.
GSD_TOLERANCE = 0.02
# Bands that a message names; more are counted.
MAX_NAMED_BANDS = 13


@dataclass(frozen=True)
class Delivery:
    """An opened product, or a plain raster.

    Attributes
    ----------
    scene : Scene
    guides : tuple of Scene
        The product's own sharper bands; empty where it has none.
    sensor : str
        Name in the sensor registry; empty for a plain raster.
    level : str
        Processing level in the notation of the provider, e.g. ``"L2A"``.
    notes : tuple of str
        Decisions made in opening it, a sentence each.
    without_guide : str
        A sentence for the user who gives no guide, where the product has none of its own; empty where there is nothing
        to say.
    gsds : tuple of float
        Pixel sizes of the bands of a product with several, metres, from the finest; empty for others.
    classification : Scene or None
        The class of each pixel (SCL of Sentinel-2 L2A), where it is delivered.
    """

    scene: Scene
    guides: tuple[Scene, ...] = ()
    sensor: str = ""
    level: str = ""
    notes: tuple[str, ...] = ()
    without_guide: str = ""
    gsds: tuple[float, ...] = ()
    classification: Scene | None = None


def describe_delivery(delivery: Delivery, *, has_guide: bool) -> tuple[str, ...]:
    """Return sentences for the user about how a product or a file of arrays was opened; none for a plain raster.

    Parameters
    ----------
    delivery : Delivery
    has_guide : bool
        Whether the user gives a guide, so that the product's own bands are not used.
    """
    if not delivery.sensor:
        return delivery.notes
    own = () if has_guide else tuple(f"Guided by the product's own {_band_text(g)}." for g in delivery.guides)
    opened = f"Opened as {delivery.sensor} {delivery.level}".rstrip()
    return (
        f"{opened}: {_band_text(delivery.scene)}.",
        *own,
        *delivery.notes,
        *missing_guide(delivery, has_guide=has_guide),
    )


def missing_guide(delivery: Delivery, *, has_guide: bool) -> tuple[str, ...]:
    """Return the sentence about a guide that a product lacks; none where there is a guide."""
    return () if has_guide or delivery.guides or not delivery.without_guide else (delivery.without_guide,)


def _band_text(scene: Scene) -> str:
    names = [b.name for b in scene.bands if b.name]
    bands = ", ".join(names) if 0 < len(names) <= MAX_NAMED_BANDS else f"{scene.count} bands"
    gsd = "" if grid.is_bare(scene.geobox) else f" at {grid.gsd(scene.geobox):.4g} {grid.unit(scene.geobox)}"
    return bands + gsd


def choose_gsd(groups: Mapping[float, Sequence[str]], gsd: float | None, where: str) -> tuple[float, float | None]:
    """Choose among the pixel sizes of the bands of a product.

    Parameters
    ----------
    groups : mapping of float to sequence of str
        Names of the bands of each GSD, metres.
    gsd : float or None
        The requested one; None for the largest group that is coarser than the finest.
    where : str
        Name of the product in error messages.

    Returns
    -------
    tuple
        GSD of the scene, and that of its guide: the finest, or None where that is the scene's own.

    Raises
    ------
    OptionError
        If no band has the requested GSD.
    """
    finest = min(groups)
    chosen: float | None = max(groups, key=lambda g: (g > finest, len(groups[g])))
    if gsd is not None:
        chosen = next((g for g in groups if math.isclose(g, gsd, rel_tol=GSD_TOLERANCE)), None)
    if chosen is None:
        sizes = "; ".join(f"{g:g} m ({', '.join(groups[g])})" for g in sorted(groups))
        raise OptionError(f"--gsd {gsd:g} m is none of the pixel sizes in {where}: {sizes}. Give one of these.")
    return chosen, finest if chosen > finest else None


def repacked(scene: Scene, scales: Sequence[float], offsets: Sequence[float], unit: str | None = None) -> Scene:
    """Return the scene of a raster with the scales and offsets that its product documents, one per band."""
    source = scene.source
    if not isinstance(source, RasterSource):
        raise TypeError(f"{scene.name} is not a raster")
    require_packing(scales, offsets, f"The metadata of {scene.name}", "Fetch them again.")
    packing = replace(scene.packing, scales=tuple(scales), offsets=tuple(offsets))
    decoding = Decoding(packing.scales, packing.offsets, source.decoding.nodata)
    bands = tuple(replace(b, unit=unit or b.unit) for b in scene.bands)
    return replace(scene, source=replace(source, decoding=decoding), packing=packing, bands=bands)


def is_stored(scene: Scene) -> bool:
    """Say whether the file of a scene holds integers without a scale, as products are delivered.

    What this program writes of a product may have a name like the product's, and states its scale.
    """
    packing = scene.packing
    return not packing.is_float and set(packing.scales) == {1.0} and set(packing.offsets) == {0.0}


def stack(scenes: Sequence[Scene], name: str) -> Scene:
    """Return rasters of one grid as one scene, bands in their order.

    Raises
    ------
    InputError
        If two of them differ in grid or stored type.
    """
    first = scenes[0]
    for other in scenes[1:]:
        if _form(other) != _form(first):
            raise InputError(
                f"{other.name} is {grid_text(other)}, but {first.name} is {grid_text(first)}: they are not bands of "
                "one product. Fetch the delivery again."
            )
    packings = [s.packing for s in scenes]
    packing = replace(
        first.packing,
        scales=tuple(v for p in packings for v in p.scales),
        offsets=tuple(v for p in packings for v in p.offsets),
    )
    bands = tuple(b for s in scenes for b in s.bands)
    return replace(first, source=BandStack.of([s.source for s in scenes]), bands=bands, packing=packing, name=name)


def _form(scene: Scene) -> tuple[object, ...]:
    """Return the properties in which all bands of a scene agree: grid and stored type."""
    return scene.geobox.shape, scene.geobox.crs, tuple(scene.geobox.affine), scene.packing.dtype


def grid_text(scene: Scene) -> str:
    """Return shape, type, pixel size, corner and CRS of a scene for a message."""
    (height, width), t = scene.shape, scene.geobox.affine
    return f"{height} x {width} {scene.packing.dtype} pixels of {t.a:g} from x {t.c:.8g}, y {t.f:.8g} in {grid.crs_name(scene.geobox)}"


def named_bands(sensor: str, names: Sequence[str], unit: str | None = None) -> tuple[Band, ...]:
    """Return bands with their centre and width in the sensor registry; with the name only where it has none.

    Parameters
    ----------
    sensor : str
        Name in the registry.
    names : sequence of str
    unit : str or None
        Of the values.
    """
    definitions = {b.name: b for b in find(sensor).bands}
    return tuple(
        Band(n, definitions[n].wavelength_nm, definitions[n].fwhm_nm, unit=unit)
        if n in definitions
        else Band(n, unit=unit)
        for n in names
    )
