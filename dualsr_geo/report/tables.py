"""The tables of a report's page: scores, scores of every band, lineage; numbers as they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTHING = "\u2013"
# Lineage is shown in full below; in its list a value stays readable.
LINEAGE_CHARACTERS = 160


def number(value: float | None) -> str:
    """Return a number to be read: four digits, a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    size = abs(value)
    text = f"{value:,.0f}" if 1e4 <= size < 1e9 else f"{value:#.4g}".rstrip(".")
    return "0" if size == 0 else text.replace("-", "\u2212")


def signed(value: float) -> str:
    """Return a displacement to be read: two places, always with its sign."""
    return f"{value:+.2f}".replace("-", "\u2212") if math.isfinite(value) else NOTHING


@dataclass(frozen=True)
class Score:
    """How a score is called, its unit, and whether more (1), less (-1) or neither (0) is better."""

    label: str
    unit: str = ""
    better: int = 0
    divisor: float = 1.0


SCORES = {
    "psnr_db": Score("PSNR", "dB", 1),
    "psnr_band_mean_db": Score("PSNR, mean of bands", "dB", 1),
    "ssim": Score("SSIM", "", 1),
    "sam_deg": Score("SAM", "\u00b0", -1),
    "ergas": Score("ERGAS", "", -1),
    "rmse": Score("RMSE", "", -1),
    "cc": Score("CC", "", 1),
    "q2n": Score("Q2n", "", 1),
    "uqi": Score("UQI", "", 1),
    "scc": Score("SCC", "", 1),
    "seconds": Score("Time", "s", -1),
    "peak_memory_bytes": Score("Memory", "MiB", -1, 2**20),
}


@dataclass(frozen=True)
class ScoreTable:
    """Scores to be read: columns, and for each model its cells, each with whether it is the best."""

    columns: tuple[Score, ...]
    rows: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
    common: str


@dataclass(frozen=True)
class Metric:
    """One score of every band, of every model that has it."""

    key: str
    label: str
    models: Mapping[str, NDArray[np.float64]]


def _score(key: str, unit: str | None) -> Score:
    known = SCORES.get(key, Score(key))
    return Score(known.label, unit or "", known.better) if key == "rmse" else known


def score_table(scores: Mapping[str, Mapping[str, float | None]], unit: str | None) -> ScoreTable | None:
    """Lay out the scores; what has no better and worse and is the same of all stands apart."""
    if not scores:
        return None
    keys = list(dict.fromkeys(k for row in scores.values() for k in row))
    alike = [k for k in keys if k not in SCORES and len({row.get(k) for row in scores.values()}) == 1]
    columns = {k: _score(k, unit) for k in keys if k not in alike}
    best = {k: _best(s.better, [row.get(k) for row in scores.values()]) for k, s in columns.items()}
    rows = tuple(
        (
            model,
            tuple((_cell(row.get(k), s), row.get(k) is not None and row.get(k) == best[k]) for k, s in columns.items()),
        )
        for model, row in scores.items()
    )
    first = next(iter(scores.values()))
    return ScoreTable(tuple(columns.values()), rows, "; ".join(f"{k} {_common(first[k])}" for k in alike))


def _common(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _cell(value: float | None, score: Score) -> str:
    return number(None if value is None else value / score.divisor)


def _best(better: int, values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and not np.isnan(v)]
    if not better or len(known) < 2:
        return None
    return max(known) if better > 0 else min(known)


def metrics(per_band: Mapping[str, Mapping[str, NDArray[np.float64]]], unit: str | None) -> list[Metric]:
    """Turn scores of every band, model by model, into models, score by score."""
    found = []
    for key in dict.fromkeys(k for row in per_band.values() for k in row):
        score = _score(key, unit)
        label = f"{score.label} ({score.unit})" if score.unit else score.label
        found.append(Metric(key, label, {m: row[key] for m, row in per_band.items() if key in row}))
    return found


# ---- lineage -----------------------------------------------------------------------------


def lineage_rows(lineage: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Flatten what led here to pairs of a dotted name and a value cut to a line."""
    pairs: list[tuple[str, str]] = []
    for key, value in lineage.items():
        if isinstance(value, Mapping):
            pairs += lineage_rows(value, f"{before}{key}.")
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=plain)
        pairs.append(
            (f"{before}{key}", text if len(text) <= LINEAGE_CHARACTERS else text[:LINEAGE_CHARACTERS] + "\u2026")
        )
    return pairs


def plain(value: Any) -> Any:
    """Say for JSON what it does not know: mappings, arrays and their numbers; the rest as text."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
