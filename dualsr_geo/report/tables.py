"""Tables of a report: scores, scores band by band, provenance; numbers and bands as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.bands import Band
from dualsr_geo.serialization import plain_values

NO_VALUE = "\u2013"
# A longer value is cut in the list of the provenance, which the page also shows whole, as JSON.
MAX_VALUE_CHARACTERS = 160
# Kinds of the detail assessment.
DETAIL_LABELS = {
    "improvement": "Improved",
    "omission": "Omitted",
    "hallucination_guide": "Hallucinated, from the guide",
    "hallucination_neither": "Hallucinated, from neither",
    "contradicted": "Contradicted",
}


def number(value: float | None) -> str:
    """Return a number as text: four digits, a dash where there is none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    size = abs(value)
    text = f"{value:,.0f}" if 1e4 <= size < 1e9 else f"{value:#.4g}".rstrip(".")
    return "0" if size == 0 else text.replace("-", "\u2212")


def signed(value: float) -> str:
    """Return a displacement as text: two decimal places, always with its sign."""
    return f"{value:+.2f}".replace("-", "\u2212") if math.isfinite(value) else NO_VALUE


def band_label(band: Band, index: int) -> str:
    """Return the number, name and wavelength of a band; `index` counts from 0."""
    parts = [f"Band {index + 1}"]
    if band.name and band.name != parts[0]:
        parts.append(band.name)
    # The names of many bands are their wavelengths.
    if band.wavelength_nm is not None and f"{band.wavelength_nm:.4g}".split(".")[0] not in (band.name or ""):
        parts.append(f"{band.wavelength_nm:.5g} nm")
    return ", ".join(parts)


# ---- scores ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreColumn:
    """The column of a score.

    Attributes
    ----------
    label : str
    unit : str
    better : int
        1 if higher is better, -1 if lower is better, 0 if neither.
    divisor : float
        Of the score, to have it in `unit`.
    """

    label: str
    unit: str = ""
    better: int = 0
    divisor: float = 1.0


SCORE_COLUMNS = {
    "psnr_db": ScoreColumn("PSNR", "dB", 1),
    "psnr_band_mean_db": ScoreColumn("PSNR, mean of bands", "dB", 1),
    "ssim": ScoreColumn("SSIM", "", 1),
    "sam_deg": ScoreColumn("SAM", "\u00b0", -1),
    "ergas": ScoreColumn("ERGAS", "", -1),
    "rmse": ScoreColumn("RMSE", "", -1),
    "cc": ScoreColumn("CC", "", 1),
    "q2n": ScoreColumn("Q2n", "", 1),
    "uqi": ScoreColumn("UQI", "", 1),
    "scc": ScoreColumn("SCC", "", 1),
    "seconds": ScoreColumn("Time", "s", -1),
    "peak_memory_bytes": ScoreColumn("Memory", "MiB", -1, 2**20),
}


@dataclass(frozen=True)
class ScoreTable:
    """Scores of several models as text.

    Attributes
    ----------
    columns : tuple of ScoreColumn
    rows : tuple
        (model, cells) of each model; a cell is its text and whether it is the best of its column.
    common : str
        Values that are the same for all models.
    """

    columns: tuple[ScoreColumn, ...]
    rows: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    common: str


@dataclass(frozen=True)
class BandScores:
    """One score of every band, for every model that has it.

    Attributes
    ----------
    key, label : str
    models : mapping of str to array, shape (band,)
    """

    key: str
    label: str
    models: Mapping[str, NDArray[np.float64]]


def _column(key: str, unit: str | None) -> ScoreColumn:
    column = SCORE_COLUMNS.get(key, ScoreColumn(key))
    return ScoreColumn(column.label, unit or "", column.better) if key == "rmse" else column


def score_table(scores: Mapping[str, Mapping[str, float | None]], unit: str | None) -> ScoreTable | None:
    """Return scores as a table; values without a rank that are the same for all models are put in `common`."""
    if not scores:
        return None
    keys = list(dict.fromkeys(k for row in scores.values() for k in row))
    common = [k for k in keys if k not in SCORE_COLUMNS and len({row.get(k) for row in scores.values()}) == 1]
    columns = {k: _column(k, unit) for k in keys if k not in common}
    best = {k: _best(c.better, [row.get(k) for row in scores.values()]) for k, c in columns.items()}
    rows = tuple(
        (
            model,
            tuple((_cell(row.get(k), c), row.get(k) is not None and row.get(k) == best[k]) for k, c in columns.items()),
        )
        for model, row in scores.items()
    )
    first = next(iter(scores.values()))
    return ScoreTable(tuple(columns.values()), rows, "; ".join(f"{k} {_common(first[k])}" for k in common))


def _common(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _cell(value: float | None, column: ScoreColumn) -> str:
    return number(None if value is None else value / column.divisor)


def _best(better: int, values: Sequence[float | None]) -> float | None:
    """Return the best value; None where there is no better and worse or nothing to compare."""
    finite = [v for v in values if v is not None and not np.isnan(v)]
    if not better or len(finite) < 2:
        return None
    return max(finite) if better > 0 else min(finite)


def band_scores(per_band: Mapping[str, Mapping[str, NDArray[np.float64]]], unit: str | None) -> list[BandScores]:
    """Group the band scores of each model by score."""
    grouped = []
    for key in dict.fromkeys(k for row in per_band.values() for k in row):
        column = _column(key, unit)
        label = f"{column.label} ({column.unit})" if column.unit else column.label
        grouped.append(BandScores(key, label, {m: row[key] for m, row in per_band.items() if key in row}))
    return grouped


# ---- provenance --------------------------------------------------------------------------


def provenance_rows(provenance: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten provenance to pairs of a dotted name and a value of one line."""
    rows: list[tuple[str, str]] = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            rows += provenance_rows(value, f"{prefix}{key}.")
            continue
        text = value if isinstance(value, str) else json.dumps(plain_values(value), ensure_ascii=False)
        cut = text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + "\u2026"
        rows.append((f"{prefix}{key}", cut))
    return rows
