"""The bands of a product as STAC 1.1 describes them, with the extensions eo 2 and raster 2."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from dualsr_geo.io.writers.output_spec import band_title
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene

EO_EXTENSION = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
RASTER_EXTENSION = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
NM_PER_UM = 1000.0
# Colour interpretations that are common names of eo.
COMMON_NAMES = ("red", "green", "blue")


def value_bands(scene: Scene) -> list[dict[str, Any]]:
    """Return the bands of a product, in the order of the file.

    Parameters
    ----------
    scene : Scene
        The opened product.

    Returns
    -------
    list of dict
        ``name``, ``data_type``, ``nodata``, ``unit``, ``raster:scale``, ``raster:offset``, ``raster:spatial_resolution``
        (metres), ``eo:center_wavelength`` and ``eo:full_width_half_max`` (micrometres), as far as they are known.
    """
    return [_described(scene, i, _title(b, i)) for i, b in enumerate(scene.bands, 1)]


def uncertainty_bands(scene: Scene) -> list[dict[str, Any]]:
    """Return the bands of standard deviations that belong to the bands of a product, as `value_bands` does."""
    deviations = replace(scene, packing=scene.packing.deviations)
    return [
        {**_described(deviations, i, f"{_title(b, i)} sigma"), "description": _text_of(b, i)}
        for i, b in enumerate(scene.bands, 1)
    ]


def extensions_of(bands: list[dict[str, Any]]) -> list[str]:
    """Return the extensions whose fields bands have; eo may be listed only where one of its fields is set."""
    has_eo = any(name.startswith("eo:") for band in bands for name in band)
    return [*([EO_EXTENSION] if has_eo else []), RASTER_EXTENSION]


def _text_of(band: Band, index: int) -> str:
    return f"Standard deviation of the error of {_title(band, index)} (coverage factor 1)."


def _title(band: Band, index: int) -> str:
    return band_title(band, index) or f"Band {index}"


def _described(scene: Scene, index: int, name: str) -> dict[str, Any]:
    band, packing, box = scene.bands[index - 1], scene.packing, scene.geobox
    fields = {
        "name": name,
        "data_type": str(packing.dtype),
        "nodata": _nodata(packing),
        "unit": band.unit or None,
        "raster:scale": packing.scales[index - 1],
        "raster:offset": packing.offsets[index - 1],
        "raster:spatial_resolution": grid.gsd(box) if grid.unit(box) == "m" else None,
        "eo:common_name": band.color if band.color in COMMON_NAMES else None,
        "eo:center_wavelength": _micrometres(band.wavelength_nm),
        "eo:full_width_half_max": _micrometres(band.fwhm_nm),
    }
    return {field: value for field, value in fields.items() if value is not None}


def _micrometres(wavelength_nm: float | None) -> float | None:
    return None if wavelength_nm is None or not wavelength_nm > 0 else round(wavelength_nm / NM_PER_UM, 7)


def _nodata(packing: Packing) -> float | str | None:
    value = packing.nodata
    if value is None or math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
