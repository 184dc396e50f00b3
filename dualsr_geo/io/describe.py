"""Description of a scene: its grid, bands and packing as they are read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from dualsr_geo.argument_types import checked, flag, number, number_or_auto, path, text, text_or_numbers
from dualsr_geo.io.products.delivery import missing_guide
from dualsr_geo.io.scenes import open_delivered, open_guides
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.storage.urls import shown
from dualsr_geo.io.storage.zarr_groups import is_zarr
from dualsr_geo.io.undeclared_fill import warn_of_fill, warn_of_repeated_pixels
from dualsr_geo.io.wavelength_list import Given
from dualsr_geo.io.writers.output_records import provenance_at, uncertainty_bands
from dualsr_geo.io.writers.output_spec import deviations_path
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Nodata, Packing
from dualsr_geo.raster.scene import Scene

Location = str | os.PathLike[str]


@reports_defects
@checked(
    scene=path,
    rgb=path,
    bidx=text,
    nodata=number_or_auto,
    gsd=number,
    sensor=text,
    wavelengths=text_or_numbers,
    trust_references=flag,
)
def describe(
    scene: Location,
    *,
    rgb: Location | None = None,
    bidx: str | None = None,
    nodata: Nodata = None,
    gsd: float | None = None,
    sensor: str | None = None,
    wavelengths: Given | None = None,
    trust_references: bool = False,
) -> dict[str, Any]:
    """Describe a scene: its grid, bands and packing as they are read.

    Parameters
    ----------
    scene, rgb : path
    bidx : str, optional
    nodata : float or "auto", optional
    gsd : float, optional
        Pixel size of the bands of a product with several, metres.
    sensor : str, optional
        The instrument, where the metadata do not name it.
    wavelengths : str or sequence of float, optional
        Those of the bands, instead of the file's; see `open_scene`.
    trust_references : bool
        Whether scene and guide may refer to files outside their folders; see `open_scene`.

    Returns
    -------
    dict
        scene, shape, gsd, unit, crs, transform, bands, dtype, nodata, scales, offsets, band_table; sensor
        where it is identified; product (sensor, level, notes) for a product as delivered; opened (sentences) for a
        file of arrays; guide (gsd, bands)
        and largest_scale with a guide or with sharper bands of the product; undeclared_fill (value, share) where
        pixels look missing without being declared so; repeated_pixels (y, x) where each is repeated; made_by of a
        product of this program: software, model, fine, scale, parameters, scene, guide, consistency (rmse, sam_deg),
        uncertainty_bands (numbers of the bands that are standard deviations, or the name of their variable),
        uncertainty_file (that of the same run), notes.
    """
    delivery = open_delivered(
        scene,
        bidx=bidx,
        nodata=nodata,
        gsd=gsd,
        sensor=sensor,
        wavelengths=wavelengths,
        trust_references=trust_references,
    )
    description = {"scene": shown(scene), **_describe_scene(delivery.scene)}
    if (fill := warn_of_fill(delivery.scene)) is not None:
        description["undeclared_fill"] = {"value": fill.value, "share": round(fill.share, 4)}
    if max(repeated := warn_of_repeated_pixels(delivery.scene)) > 1:
        description["repeated_pixels"] = [round(float(n), 2) for n in repeated]
    if (origin := _origin(os.fspath(scene))) is not None:
        description["made_by"] = origin
    if delivery.sensor:
        notes = [*delivery.notes, *missing_guide(delivery, has_guide=rgb is not None)]
        product = {"sensor": delivery.sensor, "level": delivery.level, "notes": notes}
        description["product"] = product
    elif delivery.notes:
        description["opened"] = list(delivery.notes)
    box = delivery.scene.geobox
    for guide in delivery.guides if rgb is None else open_guides(rgb, trust_references=trust_references):
        grid.require_same_world(box, guide.geobox)
        description["guide"] = {"gsd": grid.gsd(guide.geobox, like=box), "bands": guide.count}
        description["largest_scale"] = grid.largest_ratio(box, guide.geobox)
    return description


def _origin(scene: str) -> dict[str, Any] | None:
    """Return how a product of ours was made; None for any other file."""
    provenance = provenance_at(scene)
    if provenance is None:
        return None
    consistency = provenance.get("consistency") or {}
    return {
        "software": provenance.get("software"),
        "model": provenance.get("model"),
        "fine": provenance.get("fine"),
        "scale": provenance.get("scale"),
        "parameters": provenance.get("parameters"),
        "scene": ((provenance.get("inputs") or {}).get("scene") or {}).get("uri"),
        "guide": ((provenance.get("inputs") or {}).get("guide") or {}).get("uri"),
        "consistency": {key: consistency.get(key) for key in ("rmse", "sam_deg")},
        "uncertainty_bands": list(uncertainty_bands(scene)),
        "uncertainty_file": _file_of_deviations(scene, provenance),
        "notes": provenance.get("notes"),
    }


def _file_of_deviations(scene: str, provenance: Mapping[str, Any]) -> str | None:
    """Return the file of standard deviations that the same run wrote next to a product."""
    path = deviations_path(scene)
    other = None if is_zarr(scene) else provenance_at(path)
    same = other is not None and other.get("fingerprint") == provenance.get("fingerprint")
    return shown(path) if same else None


def _describe_scene(scene: Scene) -> dict[str, Any]:
    box, packing = scene.geobox, scene.packing
    description: dict[str, Any] = {
        "shape": list(scene.shape),
        "gsd": grid.gsd(box),
        "unit": grid.unit(box),
        "crs": grid.crs_name(box),
        "transform": list(box.affine)[:6],
        "bands": scene.count,
        "dtype": packing.dtype,
        "nodata": _json_nodata(packing),
        "scales": list(packing.scales),
        "offsets": list(packing.offsets),
        "band_table": [
            {"name": b.name, "wavelength_nm": b.wavelength_nm, "fwhm_nm": b.fwhm_nm, "good": b.good}
            for b in scene.bands
        ],
    }
    if scene.sensor is not None:
        description["sensor"] = scene.sensor.to_json()
    return description


def _json_nodata(packing: Packing) -> float | int | str | None:
    """Return the nodata value as JSON can hold it."""
    value = packing.nodata
    if value is None or not math.isfinite(value):
        return None if value is None else str(value)
    return value if packing.is_float else int(value)
