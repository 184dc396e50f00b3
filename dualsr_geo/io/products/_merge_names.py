"""Bands by the names that the sensor registry has for them."""

from __future__ import annotations

from collections.abc import Sequence

from dualsr_geo.raster.bands import Band
from dualsr_geo.sensors.registry import find


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
