"""The JSON that the scripts of a report's page draw from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.data import Crop, ReportData
from dualsr_geo.report.quicklook import visible_bands
from dualsr_geo.report.spectra import CropSpectra
from dualsr_geo.report.tables import DETAIL_LABELS, band_label, band_scores


def script_data(data: ReportData, spectra: Sequence[CropSpectra]) -> dict[str, Any]:
    """Return the values of charts and crops.

    Parameters
    ----------
    data : ReportData
    spectra : sequence of CropSpectra
        Of each crop.

    Returns
    -------
    dict
        JSON without NaN and infinities; they are None.
    """
    return {
        "axis": _axis(data.bands),
        "bands": [band_label(band, i) for i, band in enumerate(data.bands)],
        "first": visible_bands(data.bands, len(data.bands))[0],
        "unit": data.unit or "",
        "crops": [_crop(crop, quantised) for crop, quantised in zip(data.crops, spectra, strict=True)],
        "perBand": {scores.key: _lists(scores.models) for scores in band_scores(data.per_band, data.unit)},
        "detail": _lists({DETAIL_LABELS[kind]: values for kind, values in data.detail.items()}),
        "relevance": [] if data.relevance is None else _list(data.relevance),
    }


def _axis(bands: Sequence[Band]) -> dict[str, Any]:
    """Return the x axis of spectra: wavelengths if all are known, else band numbers."""
    wavelengths = [b.wavelength_nm for b in bands]
    if wavelengths and all(w is not None and math.isfinite(w) for w in wavelengths):
        return {"label": "Wavelength (nm)", "values": wavelengths}
    return {"label": "Band number", "values": list(range(1, len(bands) + 1))}


def _crop(crop: Crop, spectra: CropSpectra) -> dict[str, Any]:
    return {
        "name": crop.name,
        "ratio": crop.ratio,
        "height": crop.product.shape[1],
        "width": crop.product.shape[2],
        "stride": spectra.stride,
        "rows": spectra.rows.tolist(),
        "columns": spectra.columns.tolist(),
        "cubes": {k: {"shape": c.shape, "scale": c.scale, "offset": c.offset} for k, c in spectra.cubes.items()},
    }


def _lists(values: Mapping[str, NDArray[np.floating]]) -> dict[str, list[float | None]]:
    return {name: _list(array) for name, array in values.items()}


def _list(values: NDArray[np.floating]) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in np.asarray(values).tolist()]
