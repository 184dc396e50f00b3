"""Physical values of the bands: reflectance, radiance, temperature, or counts where nothing states their scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.landsat.metadata import Metadata
from dualsr_geo.sensors.landsat import REFLECTANCE as REFLECTANCE_OF_LEVEL_2
from dualsr_geo.sensors.landsat import TEMPERATURE as TEMPERATURE_OF_LEVEL_2

REFLECTANCE, RADIANCE, KELVIN = "reflectance", "W m-2 sr-1 um-1", "K"
# Level 2 repeats the names of its Level 1 in other groups.
RESCALING_GROUPS = {
    1: ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING"),
    2: ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",),
}
TEMPERATURE_GROUPS = ("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS",)
# Radiances of the largest and the smallest count, and these counts.
EXTREME_GROUPS = ("LEVEL1_MIN_MAX_RADIANCE", "MIN_MAX_RADIANCE", "LEVEL1_MIN_MAX_PIXEL_VALUE", "MIN_MAX_PIXEL_VALUE")
COLLECTION_2 = "02"


@dataclass(frozen=True)
class Values:
    """What the stored values of some bands are.

    Attributes
    ----------
    note : str
        A sentence for the user.
    scales, offsets : tuple of float
        One per band.
    unit : str or None
        None for counts.
    """

    note: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    unit: str | None


def values_of(metadata: Metadata, bands: Sequence[str], level: int) -> Values:
    """Return the values of bands by the metadata of their product.

    Parameters
    ----------
    metadata : Metadata
    bands : sequence of str
        All reflective, or all thermal.
    level : int
        1 or 2.

    Raises
    ------
    InputError
        If the metadata do not state them.
    """
    if level == 2:
        return _level_2(metadata, bands)
    states_reflectance = any(
        _name("REFLECTANCE_MULT", b) in metadata.groups.get(g, {}) for b in bands for g in RESCALING_GROUPS[1]
    )
    if not states_reflectance:
        return _radiance(metadata, bands, "top-of-atmosphere radiance")
    elevation = metadata.sun_elevation
    if elevation <= 0:
        return _radiance(metadata, bands, f"radiance, since the sun is {-elevation:.1f} degrees below the horizon")
    sine = math.sin(math.radians(elevation))
    scales, offsets = _linear(metadata, bands, "REFLECTANCE", RESCALING_GROUPS[1])
    note = f"Values are top-of-atmosphere reflectance; the sun elevation is {elevation:.1f} degrees."
    return Values(note, tuple(s / sine for s in scales), tuple(o / sine for o in offsets), REFLECTANCE)


def usual_values(bands: Sequence[str], level: int, collection: str) -> Values:
    """Return the values of bands without metadata: those of all products of Collection 2 Level 2, else counts."""
    count = len(bands)
    if level == 2 and collection == COLLECTION_2:
        thermal = bands[0].startswith("ST_")
        usual = TEMPERATURE_OF_LEVEL_2 if thermal else REFLECTANCE_OF_LEVEL_2
        note = "Values are surface temperature in kelvin." if thermal else "Values are surface reflectance."
        return Values(note, (usual.scale,) * count, (usual.offset,) * count, KELVIN if thermal else REFLECTANCE)
    note = "Values are stored counts: there is no MTL file, which states their scale."
    return Values(note, (1.0,) * count, (0.0,) * count, None)


def _level_2(metadata: Metadata, bands: Sequence[str]) -> Values:
    if bands[0].startswith("ST_"):
        scales, offsets = _linear(metadata, bands, "TEMPERATURE", TEMPERATURE_GROUPS)
        return Values("Values are surface temperature in kelvin.", scales, offsets, KELVIN)
    scales, offsets = _linear(metadata, bands, "REFLECTANCE", RESCALING_GROUPS[2])
    return Values("Values are surface reflectance.", scales, offsets, REFLECTANCE)


def _radiance(metadata: Metadata, bands: Sequence[str], quantity: str) -> Values:
    pairs = [_radiance_of_band(metadata, band) for band in bands]
    scales, offsets = zip(*pairs, strict=True)
    return Values(f"Values are {quantity}, {RADIANCE}.", tuple(scales), tuple(offsets), RADIANCE)


def _radiance_of_band(metadata: Metadata, band: str) -> tuple[float, float]:
    """Return scale and offset of a band, by themselves or by its radiances at the largest and the smallest count."""
    groups = RESCALING_GROUPS[1]
    pair = [metadata.find_number([_name(f"RADIANCE_{part}", band)], groups) for part in ("MULT", "ADD")]
    if None not in pair:
        return _linear_of_band(metadata, band, "RADIANCE", groups)
    high, low, most, least = (
        metadata.find_number(names, EXTREME_GROUPS)
        for names in (
            (f"LMAX_BAND{_old(band)}", f"RADIANCE_MAXIMUM_BAND_{band}"),
            (f"LMIN_BAND{_old(band)}", f"RADIANCE_MINIMUM_BAND_{band}"),
            (f"QCALMAX_BAND{_old(band)}", f"QUANTIZE_CAL_MAX_BAND_{band}"),
            (f"QCALMIN_BAND{_old(band)}", f"QUANTIZE_CAL_MIN_BAND_{band}"),
        )
    )
    if high is None or low is None or most is None or least is None or most == least:
        raise InputError(
            f"{metadata.document.name} states neither the reflectance nor the radiance of band {band} "
            f"(REFLECTANCE_MULT_BAND_{band}, RADIANCE_MULT_BAND_{band}). Fetch it again."
        )
    scale = (high - low) / (most - least)
    return scale, low - scale * least


def _old(band: str) -> str:
    """Return a band as it was named before the collections: 61 is 6_VCID_1."""
    return band.replace("_VCID_", "")


def _name(quantity: str, band: str) -> str:
    return f"{quantity}_BAND_{band}"


def _linear(
    metadata: Metadata, bands: Sequence[str], quantity: str, groups: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = [_linear_of_band(metadata, band, quantity, groups) for band in bands]
    return tuple(s for s, _ in pairs), tuple(o for _, o in pairs)


def _linear_of_band(metadata: Metadata, band: str, quantity: str, groups: Sequence[str]) -> tuple[float, float]:
    scale, offset = (metadata.number(_name(f"{quantity}_{part}", band), groups) for part in ("MULT", "ADD"))
    return scale, offset
