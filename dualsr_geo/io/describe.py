"""What a scene is, as this program reads it."""

from __future__ import annotations

import math
import os
from typing import Any

from dualsr_geo.io.scenes import open_delivered, open_guides
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Packing

Where = str | os.PathLike[str]


def describe(
    scene: Where,
    *,
    rgb: Where | None = None,
    bidx: str | None = None,
    nodata: float | None = None,
    gsd: float | None = None,
    sensor: str | None = None,
) -> dict[str, Any]:
    """Return what a scene is, as this program reads it.

    Parameters
    ----------
    scene, rgb : path
    bidx : str, optional
    nodata : float, optional
    gsd : float, optional
        Which bands of a product with several pixel sizes, metres.
    sensor : str, optional
        Whose product it is, where it does not say.

    Returns
    -------
    dict
        scene, shape, gsd, unit, crs, transform, bands, dtype, nodata, scales, offsets,
        band_table; its sensor where one knows; of a product as delivered its sensor, level and notes; with a guide, or bands of
        its own that are sharper, their gsd, number and the largest scale they allow.
    """
    delivered = open_delivered(scene, bidx=bidx, nodata=nodata, gsd=gsd, sensor=sensor)
    opened = delivered.scene
    box, packing = opened.geobox, opened.packing
    found: dict[str, Any] = {
        "scene": str(scene),
        "shape": list(opened.shape),
        "gsd": grid.gsd(box),
        "unit": grid.unit(box),
        "crs": grid.crs_name(box),
        "transform": list(box.affine)[:6],
        "bands": opened.count,
        "dtype": packing.dtype,
        "nodata": _shown(packing),
        "scales": list(packing.scales),
        "offsets": list(packing.offsets),
        "band_table": [
            {"name": b.name, "wavelength_nm": b.wavelength_nm, "fwhm_nm": b.fwhm_nm, "good": b.good}
            for b in opened.bands
        ],
    }
    if opened.sensor is not None:
        found["sensor"] = opened.sensor.to_json()
    if delivered.sensor:
        found["product"] = {"sensor": delivered.sensor, "level": delivered.level, "notes": list(delivered.notes)}
    guides = delivered.guides if rgb is None else open_guides(rgb)
    for guide in guides:
        grid.require_same_world(box, guide.geobox)
        found["guide"] = {"gsd": grid.gsd(guide.geobox, like=box), "bands": guide.count}
        found["largest_scale"] = grid.largest_ratio(box, guide.geobox)
    return found


def _shown(packing: Packing) -> float | int | str | None:
    """Return a nodata value as JSON has it."""
    value = packing.nodata
    if value is None or not math.isfinite(value):
        return None if value is None else str(value)
    return value if packing.is_float else int(value)
