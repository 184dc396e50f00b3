"""What a report shows of a finished run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.records.run_summary import RunSummary, TileRecord
from dualsr_geo.io.guides import displaced_guide
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.writers.output_records import read_provenance
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.report import summary as sentences
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.gather import gather_report_data, read_survey
from dualsr_geo.report.views import ReportInputs


def report_data_of_run(
    plan: RunPlan, spec: OutputSpec, summary: RunSummary, records: Sequence[TileRecord] | None = None
) -> ReportData:
    """Read a finished product and return what its report shows.

    Parameters
    ----------
    plan : RunPlan
    spec : OutputSpec
        Of the finished product.
    summary : RunSummary
    records : sequence of TileRecord, optional
        Of each tile; unknown if the product was finished by an earlier run.
    """
    scene, product = plan.scene, open_scene(spec.path)
    survey = read_survey(spec.path, spec.format)
    field = None if survey is None else survey.displacement
    inputs = ReportInputs(
        scene,
        product,
        plan.ratio,
        guide=None if plan.guide is None else displaced_guide(plan.guide, field),
        survey=survey,
        tile_rmse=None if records is None else tile_rmse(records, plan.tiling.grid),
        provenance=read_provenance(spec) or {},
        tile_extent=(plan.sizes.tile / scene.shape[0], plan.sizes.tile / scene.shape[1]),
        uncertainty=_open_uncertainty(spec),
    )
    title = f"{scene.name}, {plan.ratio} times sharper"
    return gather_report_data(inputs, title, _facts(plan, product, summary), notes=summary.notes)


def tile_rmse(records: Sequence[TileRecord], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the RMSE of the degraded product against the scene per tile; NaN where no pixel is valid."""
    squared_error = np.array([np.sum(record.squared_error) for record in records])
    pixels = np.array([np.sum(record.pixels) for record in records])
    return np.where(pixels > 0, np.sqrt(squared_error / np.maximum(pixels, 1)), np.nan).reshape(shape)


def _open_uncertainty(spec: OutputSpec) -> Scene | None:
    """Open the standard deviations that a product carries; None if it has none."""
    if not spec.uncertainty:
        return None
    if spec.format == "Zarr":
        return open_scene(f"{spec.path}/{spec.variables[1].name}")
    if spec.format == "netCDF":
        return open_scene(f'NETCDF:"{spec.path}":{spec.variables[1].name}')
    if spec.deviations_destination is not None:
        return open_scene(spec.deviations_destination.path, bidx=f"1..{spec.shape[0]}")
    count = spec.shape[0]
    return open_scene(spec.path, bidx=f"{count + 1}..{2 * count}")


def _facts(plan: RunPlan, product: Scene, summary: RunSummary) -> dict[str, str]:
    """Return the headline facts."""
    before, after = grid.gsd(plan.scene.geobox), grid.gsd(product.geobox)
    height, width = product.shape
    result, (sigma_y, sigma_x) = summary.to_json(), summary.psf.sigma_px
    model = [
        f"{summary.model}, fine stage {summary.fine}",
        *(f"network {s}" for s in sentences.describe_correction(summary.correction)),
        *(f"fine stage {s}" for s in sentences.describe_fine_stage(summary.refinement, summary.fine)),
    ]
    facts = {
        "Pixels": [f"{before:.4g} to {after:.4g} {grid.unit(product.geobox)}"],
        "Size": [f"{sentences.counted(product.count, 'band')}, {height} x {width} pixels"],
        "Model": model,
        "Blur": [
            f"sigma {sigma_y:.2f} x {sigma_x:.2f} px ({summary.psf.source})",
            *sentences.describe_assumption(result["psf"]),
        ],
        "Sensor": [] if summary.sensor is None else [summary.sensor["said"].removeprefix("Sensor").lstrip(": ")],
        "Guide": sentences.describe_guide(result["guide"]),
        "Artefacts": sentences.describe_artefacts(result["artefacts"]),
        "Consistency": sentences.describe_consistency(result["consistency"]),
        "Indices": sentences.describe_indices(summary.indices),
        "Detail": sentences.describe_detail(summary.detail),
        "Cost": [] if summary.seconds is None else [sentences.describe_cost(result)],
    }
    return {name: "; ".join(lines) for name, lines in facts.items() if lines}
