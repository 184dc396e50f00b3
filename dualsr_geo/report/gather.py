"""Gather what a report shows from the rasters of a product and its provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.io.writers.output_records import read_record
from dualsr_geo.report import views
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.views import ReportInputs
from dualsr_geo.serialization import from_json
from dualsr_geo.surveying.survey import Survey


def read_survey(path: str, format_: str) -> Survey | None:
    """Return the survey that a product carries; None if it carries none."""
    record = read_record(path, format_, "survey")
    return None if record is None else from_json(Survey, record)


def gather_report_data(
    inputs: ReportInputs,
    title: str,
    facts: Mapping[str, str],
    *,
    scores: Mapping[str, Mapping[str, float | None]] | None = None,
    per_band: Mapping[str, Mapping[str, NDArray[np.float64]]] | None = None,
    model: str = "",
    notes: Sequence[str] = (),
) -> ReportData:
    """Read the views of a product and return all that its report shows.

    Parameters
    ----------
    inputs : ReportInputs
    title : str
    facts : mapping of str to str
        Headline facts, in the order of the page.
    scores, per_band : mapping
        Of each model, where there is a reference.
    model : str
        The model that made the product.
    notes : sequence of str
        Warnings.
    """
    scene = inputs.scene
    overview = views.overview(scene)
    shifts, shifts_note = views.shifts(inputs)
    return ReportData(
        title=title,
        facts=facts,
        bands=scene.bands,
        unit=scene.bands[0].unit,
        overview=overview,
        crops=views.crops(inputs, overview),
        scores=scores or {},
        per_band=per_band or {},
        model=model,
        relevance=views.relevance(inputs),
        shifts=shifts,
        shifts_note=shifts_note,
        tile_rmse=inputs.tile_rmse,
        provenance=inputs.provenance,
        notes=tuple(notes),
        tile_extent=inputs.tile_extent,
        uncertainty=_mean_uncertainty(inputs),
        detail=_detail(inputs),
    )


def _mean_uncertainty(inputs: ReportInputs) -> NDArray[np.float64] | None:
    """Return the mean standard deviation of every band, NaN where unknown; None if the product has none."""
    uncertainty = inputs.provenance.get("uncertainty")
    return None if uncertainty is None else np.array(uncertainty["mean_per_band"], np.float64)


def _detail(inputs: ReportInputs) -> dict[str, NDArray[np.float64]]:
    """Return the detail assessment of every band, shares of the true detail, NaN where unknown."""
    detail = inputs.provenance.get("detail")
    return {} if detail is None else {k: np.array(v, np.float64) for k, v in detail["per_band"].items()}
