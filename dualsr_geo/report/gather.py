"""What a report shows of a run, gathered: its facts and its views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.io.writers.output_spec import read_record
from dualsr_geo.report import views
from dualsr_geo.report.data import ReportData
from dualsr_geo.report.views import Material
from dualsr_geo.serialization import from_json
from dualsr_geo.survey.survey import Survey


def tile_rmse(figures: Sequence[Mapping[str, Any]], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the RMSE of the degraded product against the scene per tile, NaN where nothing is."""
    square, pixels = (np.array([np.sum(f[k]) for f in figures], np.float64) for k in ("square", "pixels"))
    return np.where(pixels > 0, np.sqrt(square / np.maximum(pixels, 1)), np.nan).reshape(shape)


def carried_survey(path: str, format_: str) -> Survey | None:
    """Return the survey that a product carries."""
    found = read_record(path, format_, "survey")
    return None if found is None else from_json(Survey, found)


def gather_report_data(
    material: Material,
    title: str,
    facts: Mapping[str, str],
    *,
    scores: Mapping[str, Mapping[str, float | None]] | None = None,
    per_band: Mapping[str, Mapping[str, NDArray[np.float64]]] | None = None,
    shown: str = "",
    notes: Sequence[str] = (),
) -> ReportData:
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
    return ReportData(
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
