"""The report of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.io.guides import displaced_guide
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.writers.output_spec import OutputSpec, read_provenance
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.gather import carried_survey, gather_report_data, tile_rmse
from dualsr_geo.report.summary import describe_correction, describe_detail, describe_fine_stage
from dualsr_geo.report.views import Material


def report_data_of_run(
    job: RunPlan, layout: OutputSpec, said: Mapping[str, Any], figures: Sequence[Mapping[str, Any]] | None = None
) -> ReportData:
    """Gather what a report shows of a finished product.

    Parameters
    ----------
    job : RunPlan
    layout : OutputSpec
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
        None if job.guide is None else displaced_guide(job.guide, field),
        known,
        None,
        tiles,
        read_provenance(layout) or {},
        (job.sizes.tile / scene.shape[0], job.sizes.tile / scene.shape[1]),
        _deviations(layout),
    )
    return gather_report_data(
        material, f"{scene.name}, {job.ratio} times sharper", _facts(job, product, said), notes=said["notes"]
    )


def _deviations(layout: OutputSpec) -> Scene | None:
    """Return the standard deviations that a product carries."""
    if not layout.uncertainty:
        return None
    if layout.format == "Zarr":
        return open_scene(f"{layout.path}/{layout.variables[1].name}")
    count = layout.shape[0]
    return open_scene(layout.path, bidx=f"{count + 1}..{2 * count}")


def _facts(job: RunPlan, product: Scene, said: Mapping[str, Any]) -> dict[str, str]:
    before, after = grid.gsd(job.scene.geobox), grid.gsd(product.geobox)
    height, width = product.shape
    fit, guide = said["consistency"], said["guide"]
    refined = describe_fine_stage(said.get("refinement"), said["fine"])
    facts = {
        "Pixels": f"{before:.4g} to {after:.4g} {grid.unit(product.geobox)}",
        "Size": f"{product.count} bands, {height} x {width} pixels",
        "Model": "; ".join(
            [f"{said['model']}, fine stage {said['fine']}", *describe_correction(said.get("correction")), *refined]
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
    if worth := describe_detail(said.get("detail")):
        facts["Detail"] = worth[0].removeprefix("detail, ")
    if "seconds" in said:
        facts["Cost"] = f"{said['seconds']:.1f} s, {said['peak_memory_bytes'] / 2**20:.0f} MiB"
    return facts
