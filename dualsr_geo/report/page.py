"""The page of a report: self-contained HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.side_files import require_side_file
from dualsr_geo.report import figures
from dualsr_geo.report.data import Crop, ReportData
from dualsr_geo.report.script_data import script_data
from dualsr_geo.report.spectra import CropCubes, quantise_crops
from dualsr_geo.report.tables import (
    DETAIL_LABELS,
    band_label,
    band_scores,
    number,
    provenance_rows,
    score_table,
    signed,
)
from dualsr_geo.serialization import plain_values, write_atomically

# Base64 of all cubes together: a page of this size opens at once and can be mailed.
BUDGET_BYTES = 6_000_000
# By this in its head a page is recognised that an earlier run wrote.
MARK = '<meta name="generator" content="dualsr-geo">'
SCRIPTS = ("charts.js", "cubes.js", "report.js")


def require_report(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
    outputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Check that a report can be written, before the work that it describes.

    Parameters
    ----------
    path : path
    overwrite, resume : bool
        Whether an existing file may be replaced, or only a report.
    inputs, outputs : iterable of path
        As for `require_side_file`.

    Raises
    ------
    OutputError
        As `require_side_file`.
    """
    is_report = (lambda head: MARK.encode() in head) if resume else None
    require_side_file(path, "--report", inputs=inputs, outputs=outputs, overwrite=overwrite, is_ours=is_report)


def write_report(data: ReportData, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the page; a failure leaves no partial page, and the old file unchanged.

    Raises
    ------
    OutputError
        As `require_report`, or if the disk refuses.
    """
    require_report(path, overwrite=overwrite)
    file = Path(path)
    # Names of files may hold bytes that are not text.
    page = render(data).encode("utf-8", errors="replace")
    try:
        write_atomically(file, page)
    except OSError as error:
        raise OutputError(f"The report {file} could not be written: {error}. Give another --report.") from error


def render(data: ReportData, *, budget_bytes: int = BUDGET_BYTES) -> str:
    """Return the page.

    Parameters
    ----------
    data : ReportData
    budget_bytes : int
        Of the spectra of all crops together; above it the page has those of every second, third, ... pixel.

    Returns
    -------
    str
        HTML that loads no file and nothing from the network.
    """
    spectra = quantise_crops([_cubes(crop) for crop in data.crops], budget_bytes)
    script = "\n".join(_template_text(name) for name in SCRIPTS)
    variables = {
        "data": data,
        "unit": data.unit or "",
        "style": Markup(_template_text("report.css")),  # noqa: S704  # a file of this package, as are the scripts
        "script": Markup(script),  # noqa: S704
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "script_data": script_data(data, spectra),
        "cubes": {f"cube-{i}-{kind}": cube.text for i, s in enumerate(spectra) for kind, cube in s.cubes.items()},
        "crops": [(crop, list(figures.crop_figures(crop, data.bands, data.unit or ""))) for crop in data.crops],
        "color_bar": figures.color_bar(),
        "detail": [(DETAIL_LABELS[kind], values.tolist()) for kind, values in data.detail.items()],
        "scores": score_table(data.scores, data.unit),
        "band_scores": band_scores(data.per_band, data.unit),
        "band_labels": [band_label(band, i) for i, band in enumerate(data.bands)],
        "provenance": provenance_rows(data.provenance),
        "provenance_json": json.dumps(plain_values(data.provenance), indent=2, ensure_ascii=False),
        **_drawings(data),
    }
    return _environment().get_template("report.html").render(variables)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, signed=signed)
    # The default sorts keys, but models and scores have an order.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment


def _template_text(name: str) -> str:
    return files("dualsr_geo.report").joinpath("templates", name).read_text(encoding="utf-8")


def _cubes(crop: Crop) -> CropCubes:
    hr = {"after": crop.product, **({} if crop.reference is None else {"reference": crop.reference})}
    return CropCubes(crop.ratio, {"before": crop.scene}, hr)


def _drawings(data: ReportData) -> dict[str, Any]:
    """Return the overview, and what is drawn over it: arrows of displacement, and a map of tiles."""
    overview = figures.overview(data.overview)
    tiles, rmse = None, data.tile_rmse
    if rmse is not None and np.isfinite(rmse).any():
        tiles = figures.tile_map(rmse, data.tile_extent, overview, data.unit or "")
    arrows = figures.arrows([(s.y, s.x, s.dy_px, s.dx_px) for s in data.shifts], overview)
    return {"overview": overview, "arrows": arrows, "tiles": tiles}
