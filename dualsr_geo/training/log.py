"""The log of a training: rows of losses and scores, as CSV and as lines of progress."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dualsr_geo.serialization import csv_cell, write_atomically

FILE = "log.csv"
SCORE_UNITS = {"psnr": "dB", "sam": "deg"}


@dataclass(frozen=True)
class Row:
    """Mean loss of some steps, and the scores after them.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Time spent on them.
    loss : float
        Mean since the row before.
    rate : float
        Learning rate of the last step.
    scores : mapping of str to mapping of str to float
        By scene and score; empty without a validation.
    """

    step: int
    seconds: float
    loss: float
    rate: float
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def progress_line(row: Row, steps: int) -> str:
    """Return a row of a training of so many steps as a line of progress, with an estimate of the whole time."""
    minutes = row.seconds / 60
    total_minutes = minutes * steps / max(1, row.step)
    parts = [f"step {row.step}/{steps}", f"{minutes:.1f} of about {total_minutes:.1f} min", f"loss {row.loss:.5g}"]
    for scene, scores in row.scores.items():
        parts.append(f"{scene} " + " ".join(f"{v:.2f} {SCORE_UNITS.get(k, k)}" for k, v in scores.items()))
    return "  ".join(parts)


def write_log(rows: Sequence[Row], folder: Path) -> None:
    """Write the rows as CSV: step, seconds, loss, rate, and a column for each scene and score."""
    columns = list(dict.fromkeys((scene, k) for row in rows for scene, scores in row.scores.items() for k in scores))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["step", "seconds", "loss", "rate", *(csv_cell(f"{scene} {score}") for scene, score in columns)])
    for row in rows:
        values = [row.scores.get(scene, {}).get(score) for scene, score in columns]
        cells = ("" if v is None else f"{v:.4f}" for v in values)
        table.writerow([row.step, f"{row.seconds:.1f}", f"{row.loss:.6g}", f"{row.rate:.4g}", *cells])
    write_atomically(folder / FILE, text.getvalue())
