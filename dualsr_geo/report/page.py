"""One page that shows a run: self-contained HTML, from values that others have gathered."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from dualsr_geo.errors import OutputError
from dualsr_geo.raster.bands import Band
from dualsr_geo.report import figures
from dualsr_geo.report.data import Crop, ReportData
from dualsr_geo.report.quicklook import visible_bands
from dualsr_geo.report.spectra import Subject, Take, pixel_spectra
from dualsr_geo.report.tables import lineage_rows, metrics, number, plain, score_table, signed
from dualsr_geo.serialization import write_atomically

# Base64 of all cubes together: a page of this size still opens at once and can be mailed.
BUDGET_BYTES = 12_000_000
# What a product's detail is worth, in words.
DETAIL = {
    "improvement": "Improved",
    "omission": "Omitted",
    "hallucination_guide": "Hallucinated, from the guide",
    "hallucination_neither": "Hallucinated, from neither",
    "contradicted": "Contradicted",
}
SCRIPTS = ("charts.js", "cubes.js", "report.js")


def require_report(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check that a report can be written, before the work that it tells of.

    Raises
    ------
    OutputError
        If the folder is missing or not writable, or the file exists and may not be replaced.
    """
    place = Path(path)
    if not place.parent.is_dir():
        raise OutputError(f"The folder {place.parent} of {place} does not exist. Create it, or give another --report.")
    if place.is_dir():
        raise OutputError(f"{place} is a folder, and a report is a file. Give another --report.")
    if place.exists() and not overwrite:
        raise OutputError(f"{place} exists. Give --overwrite to replace it, or another --report.")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {place.parent} is not writable. Give another --report.")


def write_report(exhibit: ReportData, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the page; it appears whole or not at all.

    Raises
    ------
    OutputError
        As `require_report`, or if the disk refuses.
    """
    require_report(path, overwrite=overwrite)
    place = Path(path)
    # Names of files may hold bytes that are no text.
    page = render(exhibit).encode("utf-8", errors="replace")
    try:
        write_atomically(place, page)
    except OSError as error:
        raise OutputError(f"The report {place} could not be written: {error}. Give another --report.") from error


def render(exhibit: ReportData, *, budget_bytes: int = BUDGET_BYTES) -> str:
    """Return the page.

    Parameters
    ----------
    exhibit : ReportData
    budget_bytes : int
        Of the crops' recorded spectra, all together; above it every second, third, ... pixel is recorded.

    Returns
    -------
    str
        HTML that needs nothing else: no file, no network.
    """
    takes = pixel_spectra([_subject(c) for c in exhibit.crops], budget_bytes)
    script = "\n".join(_text(name) for name in SCRIPTS)
    view = {
        "it": exhibit,
        "unit": exhibit.unit or "",
        "style": Markup(_text("report.css")),  # noqa: S704  # ours, as the next line's
        "script": Markup(script),  # noqa: S704
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data": _data(exhibit, takes),
        "cubes": {f"cube-{i}-{k}": c.text for i, t in enumerate(takes) for k, c in t.cubes.items()},
        "crops": [(crop, _plates(exhibit, crop)) for crop in exhibit.crops],
        "bar": figures.bar(),
        "shares": [(DETAIL[kind], values.tolist()) for kind, values in exhibit.detail.items()],
        "scores": score_table(exhibit.scores, exhibit.unit),
        "metrics": metrics(exhibit.per_band, exhibit.unit),
        "band_names": [_band_name(b, i) for i, b in enumerate(exhibit.bands)],
        "lineage": lineage_rows(exhibit.lineage),
        "lineage_json": json.dumps(exhibit.lineage, indent=2, ensure_ascii=False, default=plain),
        **_drawings(exhibit),
    }
    return _environment().get_template("report.html").render(view)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FunctionLoader(_text), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters.update(number=number, signed=signed)
    # As they come: models and scores have an order.
    found.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return found


def _text(name: str) -> str:
    return files("dualsr_geo.report").joinpath("templates", name).read_text(encoding="utf-8")


def _subject(crop: Crop) -> Subject:
    hr = {"after": crop.product, **({} if crop.reference is None else {"reference": crop.reference})}
    return Subject(crop.ratio, {"before": crop.scene}, hr)


def _plates(exhibit: ReportData, crop: Crop) -> list[figures.Figure]:
    found = figures.crop_figures(
        scene=crop.scene,
        product=crop.product,
        reference=crop.reference,
        guide=crop.guide,
        consistency=crop.consistency,
        uncertainty=crop.uncertainty,
        bands=exhibit.bands,
        unit=exhibit.unit or "",
    )
    return list(found)


def _drawings(exhibit: ReportData) -> dict[str, Any]:
    on = figures.overview(exhibit.overview)
    tiles, values = None, exhibit.consistency_tiles
    if values is not None and np.isfinite(values).any():
        tiles = figures.tile_map(values, exhibit.tile_extent, on, exhibit.unit or "")
    arrows = figures.arrows([(s.y, s.x, s.dy_px, s.dx_px) for s in exhibit.shifts], on)
    return {"overview": on, "arrows": arrows, "tiles": tiles}


# ---- what the scripts draw ---------------------------------------------------------------


def _data(exhibit: ReportData, takes: Sequence[Take]) -> dict[str, Any]:
    waves = [b.wavelength_nm for b in exhibit.bands]
    known = bool(waves) and all(w is not None and np.isfinite(w) for w in waves)
    return {
        "axis": {
            "label": "Wavelength (nm)" if known else "Band number",
            "values": waves if known else list(range(1, len(waves) + 1)),
        },
        "bands": [_band_name(b, i) for i, b in enumerate(exhibit.bands)],
        "first": visible_bands(exhibit.bands, len(exhibit.bands))[0],
        "unit": exhibit.unit or "",
        "crops": [_crop_data(crop, take) for crop, take in zip(exhibit.crops, takes, strict=True)],
        "perBand": {m.key: figures.finite(m.models) for m in metrics(exhibit.per_band, exhibit.unit)},
        "detail": figures.finite({DETAIL[k]: v for k, v in exhibit.detail.items()}),
        "relevance": [] if exhibit.relevance is None else figures.finite({"": exhibit.relevance})[""],
    }


def _crop_data(crop: Crop, take: Take) -> dict[str, Any]:
    return {
        "name": crop.name,
        "ratio": crop.ratio,
        "height": crop.product.shape[1],
        "width": crop.product.shape[2],
        "stride": take.stride,
        "rows": take.rows.tolist(),
        "columns": take.columns.tolist(),
        "cubes": {k: {"shape": c.shape, "scale": c.scale, "offset": c.offset} for k, c in take.cubes.items()},
    }


def _band_name(band: Band, index: int) -> str:
    parts = [f"Band {index + 1}"]
    if band.name and band.name != parts[0]:
        parts.append(band.name)
    # Many a name is the wavelength already.
    if band.wavelength_nm is not None and f"{band.wavelength_nm:.4g}".split(".")[0] not in (band.name or ""):
        parts.append(f"{band.wavelength_nm:.5g} nm")
    return ", ".join(parts)
