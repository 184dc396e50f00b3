"""What a report shows of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.io.guides import displaced_guide
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.writers.output_records import read_provenance
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.report import summary
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.gather import gather_report_data, read_survey
from dualsr_geo.report.views import ReportInputs


def report_data_of_run(
    job: RunPlan, layout: OutputSpec, result: Mapping[str, Any], statistics: Sequence[Mapping[str, Any]] | None = None
) -> ReportData:
    """Read a finished product and return what its report shows.

    Parameters
    ----------
    job : RunPlan
    layout : OutputSpec
        Of the finished product.
    result : mapping
        What the run returns.
    statistics : sequence of mapping, optional
        Of each tile; unknown if the product was finished by an earlier run.
    """
    scene, product = job.scene, open_scene(layout.path)
    survey = read_survey(layout.path, layout.format)
    field = None if survey is None else survey.displacement
    inputs = ReportInputs(
        scene,
        product,
        job.ratio,
        guide=None if job.guide is None else displaced_guide(job.guide, field),
        survey=survey,
        tile_rmse=None if statistics is None else tile_rmse(statistics, job.tiling.grid),
        provenance=read_provenance(layout) or {},
        tile_extent=(job.sizes.tile / scene.shape[0], job.sizes.tile / scene.shape[1]),
        uncertainty=_open_uncertainty(layout),
    )
    title = f"{scene.name}, {job.ratio} times sharper"
    return gather_report_data(inputs, title, _facts(job, product, result), notes=result["notes"])


def tile_rmse(statistics: Sequence[Mapping[str, Any]], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the RMSE of the degraded product against the scene per tile; NaN where no pixel is valid."""
    square, pixels = (np.array([np.sum(tile[k]) for tile in statistics], np.float64) for k in ("square", "pixels"))
    return np.where(pixels > 0, np.sqrt(square / np.maximum(pixels, 1)), np.nan).reshape(shape)


def _open_uncertainty(layout: OutputSpec) -> Scene | None:
    """Open the standard deviations that a product carries; None if it has none."""
    if not layout.uncertainty:
        return None
    if layout.format == "Zarr":
        return open_scene(f"{layout.path}/{layout.variables[1].name}")
    count = layout.shape[0]
    return open_scene(layout.path, bidx=f"{count + 1}..{2 * count}")


def _facts(job: RunPlan, product: Scene, result: Mapping[str, Any]) -> dict[str, str]:
    """Return the headline facts."""
    before, after = grid.gsd(job.scene.geobox), grid.gsd(product.geobox)
    height, width = product.shape
    psf, sensor = result["psf"], result.get("sensor")
    model = [
        f"{result['model']}, fine stage {result['fine']}",
        *summary.describe_correction(result.get("correction")),
        *summary.describe_fine_stage(result.get("refinement"), result["fine"]),
    ]
    facts = {
        "Pixels": [f"{before:.4g} to {after:.4g} {grid.unit(product.geobox)}"],
        "Size": [f"{product.count} bands, {height} x {width} pixels"],
        "Model": model,
        "Blur": [f"sigma {psf['sigma_px'][0]:.2f} x {psf['sigma_px'][1]:.2f} px ({psf['source']})"],
        "Sensor": [sensor["said"].removeprefix("Sensor").lstrip(": ")] if sensor else [],
        "Guide": summary.describe_guide(result["guide"]),
        "Consistency": summary.describe_consistency(result["consistency"]),
        "Detail": summary.describe_detail(result.get("detail")),
        "Cost": [summary.describe_cost(result)] if "seconds" in result else [],
    }
    return {name: "; ".join(sentences) for name, sentences in facts.items() if sentences}
