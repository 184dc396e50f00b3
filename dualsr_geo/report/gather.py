"""What a report shows of a run, gathered: its facts and its views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.plan import Job
from dualsr_geo.engine.provenance import say_correction, say_detail, say_refinement
from dualsr_geo.io.guides import displaced
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.writers.output_spec import Layout, carried, carried_lineage
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.report import views
from dualsr_geo.report.page import Exhibit
from dualsr_geo.report.views import Material
from dualsr_geo.survey.estimation import Survey


def of_run(
    job: Job, layout: Layout, said: Mapping[str, Any], figures: Sequence[Mapping[str, Any]] | None = None
) -> Exhibit:
    """Gather what a report shows of a finished product.

    Parameters
    ----------
    job : Job
    layout : Layout
        Of the product, which is in its place.
    said : mapping
        What the run reported.
    figures : sequence of mapping, optional
        What each tile counted; not known of a product that was finished before.
    """
    scene, product = job.scene, open_scene(layout.path)
    known = carried_survey(layout.path, layout.format)
    field = None if known is None else known.field
    tiles = None if figures is None else tile_rmse(figures, job.tiling.grid)
    material = Material(
        scene,
        product,
        job.ratio,
        None if job.guide is None else displaced(job.guide, field),
        known,
        None,
        tiles,
        carried_lineage(layout) or {},
        (job.sizes.tile / scene.shape[0], job.sizes.tile / scene.shape[1]),
        _deviations(layout),
    )
    return exhibit(
        material, f"{scene.name}, {job.ratio} times sharper", _facts(job, product, said), notes=said["notes"]
    )


def _deviations(layout: Layout) -> Scene | None:
    """Return the standard deviations that a product carries."""
    if not layout.uncertainty:
        return None
    if layout.format == "Zarr":
        return open_scene(f"{layout.path}/{layout.variables[1].name}")
    count = layout.shape[0]
    return open_scene(layout.path, bidx=f"{count + 1}..{2 * count}")


def tile_rmse(figures: Sequence[Mapping[str, Any]], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the RMSE of the degraded product against the scene per tile, NaN where nothing is."""
    square, pixels = (np.array([np.sum(f[k]) for f in figures], np.float64) for k in ("square", "pixels"))
    return np.where(pixels > 0, np.sqrt(square / np.maximum(pixels, 1)), np.nan).reshape(shape)


def carried_survey(path: str, format_: str) -> Survey | None:
    """Return the survey that a product carries."""
    found = carried(path, format_, "survey")
    return None if found is None else Survey.from_json(found)


def _facts(job: Job, product: Scene, said: Mapping[str, Any]) -> dict[str, str]:
    before, after = grid.gsd(job.scene.geobox), grid.gsd(product.geobox)
    height, width = product.shape
    fit, guide = said["consistency"], said["guide"]
    refined = say_refinement(said.get("refinement"), said["fine"])
    facts = {
        "Pixels": f"{before:.4g} to {after:.4g} {grid.unit(product.geobox)}",
        "Size": f"{product.count} bands, {height} x {width} pixels",
        "Model": "; ".join(
            [f"{said['model']}, fine stage {said['fine']}", *say_correction(said.get("correction")), *refined]
        ),
        "Blur": f"sigma {said['psf']['sigma_px'][0]:.2f} x {said['psf']['sigma_px'][1]:.2f} px ({said['psf']['source']})",
    }
    if sensor := said.get("sensor"):
        facts["Sensor"] = sensor["said"].removeprefix("Sensor").lstrip(": ")
    if guide:
        facts["Guide"] = (
            f"covers {guide['coverage']:.0%}, lies {guide['shift_px'][0]:+.2f} px down, {guide['shift_px'][1]:+.2f} px right"
        )
    if fit["rmse"] is not None:
        angle = "" if fit["sam_deg"] is None else f", {fit['sam_deg']:.2g} degrees"
        facts["Consistency"] = f"degraded it differs from the scene by {fit['rmse']:.3g} (RMSE){angle}"
    if worth := say_detail(said.get("detail")):
        facts["Detail"] = worth[0].removeprefix("detail, ")
    if "seconds" in said:
        facts["Cost"] = f"{said['seconds']:.1f} s, {said['peak_memory_bytes'] / 2**20:.0f} MiB"
    return facts


def exhibit(
    material: Material,
    title: str,
    facts: Mapping[str, str],
    *,
    scores: Mapping[str, Mapping[str, float | None]] | None = None,
    per_band: Mapping[str, Mapping[str, NDArray[np.float64]]] | None = None,
    shown: str = "",
    notes: Sequence[str] = (),
) -> Exhibit:
    """Gather what a report shows.

    Parameters
    ----------
    material : Material
    title : str
    facts : mapping of str to str
        What stands on top.
    scores, per_band : mapping
        Of each model, where there is a reference.
    shown : str
        The model that made the product.
    notes : sequence of str
        What the user should know.
    """
    scene = material.scene
    overview = views.overview(scene)
    shifts, scale = views.shifts(material)
    return Exhibit(
        title=title,
        facts=facts,
        bands=scene.bands,
        unit=scene.bands[0].unit,
        overview=overview,
        crops=views.crops(material, overview),
        scores=scores or {},
        per_band=per_band or {},
        shown=shown,
        relevance=views.relevance(material),
        shifts=shifts,
        shift_scale=scale,
        consistency_tiles=material.tiles,
        lineage=material.lineage,
        notes=tuple(notes),
        tile_extent=material.tile_extent,
        uncertainty=_mean_uncertainty(material),
        detail=_worth(material),
    )


def _mean_uncertainty(material: Material) -> NDArray[np.float64] | None:
    """Return the mean standard deviation of every band, NaN where there is none."""
    said = material.lineage.get("uncertainty")
    return None if said is None else np.array(said["mean_per_band"], np.float64)


def _worth(material: Material) -> dict[str, NDArray[np.float64]]:
    """Return what every band's detail is worth, shares of the true detail; NaN where that is not known."""
    said = material.lineage.get("detail")
    return {} if said is None else {k: np.array(v, np.float64) for k, v in said["per_band"].items()}
