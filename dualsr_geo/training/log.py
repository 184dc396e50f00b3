"""What a training leaves to read: a table of steps, curves, a line of progress."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from dualsr_geo.serialization import write_atomically

TABLE, CURVES = "log.csv", "curves.svg"
SUFFIXES = {"psnr": "dB", "sam": "deg"}

# Of the drawing, pixels.
WIDTH, HEIGHT, MARGIN, LEGEND = 720, 260, 56, 190
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
TICKS = 4


@dataclass(frozen=True)
class Row:
    """Some steps, and the scores after them.

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
        By scene and score; empty where there was no validation.
    """

    step: int
    seconds: float
    loss: float
    rate: float
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def line(row: Row, steps: int) -> str:
    """Return a row as a line of progress."""
    minutes = row.seconds / 60
    whole = minutes * steps / max(1, row.step)
    told = [f"step {row.step}/{steps}", f"{minutes:.1f} of about {whole:.1f} min", f"loss {row.loss:.5g}"]
    for scene, scores in row.scores.items():
        told.append(f"{scene} " + " ".join(f"{v:.2f} {SUFFIXES.get(k, k)}" for k, v in scores.items()))
    return "  ".join(told)


def columns(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return scene and score of every column that some row has, in order."""
    return list(
        dict.fromkeys((scene, score) for row in rows for scene, scores in row.scores.items() for score in scores)
    )


def write_table(rows: Sequence[Row], folder: Path) -> None:
    """Write the rows as CSV: step, seconds, loss, rate, and a column a scene and score."""
    scored = columns(rows)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["step", "seconds", "loss", "rate", *(f"{scene} {score}" for scene, score in scored)])
    for row in rows:
        values = [row.scores.get(scene, {}).get(score) for scene, score in scored]
        cells = ("" if v is None else f"{v:.4f}" for v in values)
        table.writerow([row.step, f"{row.seconds:.1f}", f"{row.loss:.6g}", f"{row.rate:.4g}", *cells])
    write_atomically(folder / TABLE, text.getvalue())


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Draw loss and scores over the steps, one plot below the other, as SVG."""
    curves = {"loss": {"loss": [(row.step, row.loss) for row in rows]}}
    for scene, score in columns(rows):
        points = [(row.step, row.scores[scene][score]) for row in rows if score in row.scores.get(scene, {})]
        curves.setdefault(score, {})[scene] = points
    plots = [_plot(name, lines, k * HEIGHT) for k, (name, lines) in enumerate(curves.items())]
    size = f'width="{WIDTH}" height="{HEIGHT * len(plots)}"'
    font = 'font-family="sans-serif" font-size="12"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    write_atomically(
        folder / CURVES,
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{background}{"".join(plots)}</svg>\n',
    )


def _plot(name: str, lines: Mapping[str, Sequence[tuple[int, float]]], top: int) -> str:
    """Draw one set of curves below `top`; loss on a logarithmic axis."""
    log = name == "loss"
    seen = {k: [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)] for k, points in lines.items()}
    flat = [p for points in seen.values() for p in points]
    if not flat:
        return ""
    xs, ys = [x for x, _ in flat], [math.log10(y) if log else y for _, y in flat]
    (left, right), (low, high) = (0, max(xs)), (min(ys), max(ys))
    high = high if high > low else low + 1

    def at(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (WIDTH - MARGIN - LEGEND) * (x - left) / (right - left or 1)
        return across, top + HEIGHT - 30 - (HEIGHT - 60) * (y - low) / (high - low)

    parts = [f'<text x="{MARGIN}" y="{top + 18}" font-weight="bold">{escape(name)}</text>']
    for k in range(TICKS + 1):
        y = low + (high - low) * k / TICKS
        (x0, height), (x1, _) = at(left, y), at(right, y)
        parts.append(f'<path d="M{x0:.1f} {height:.1f}H{x1:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x0 - 6:.1f}" y="{height + 4:.1f}" text-anchor="end">{10**y if log else y:.4g}</text>')
        x = left + (right - left) * k / TICKS
        parts.append(f'<text x="{at(x, low)[0]:.1f}" y="{top + HEIGHT - 12}" text-anchor="middle">{x:.0f}</text>')
    for k, (label, points) in enumerate(seen.items()):
        colour = COLOURS[k % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(x, math.log10(y) if log else y)) for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        beside = WIDTH - LEGEND + 12, top + 36 + 16 * k
        parts.append(f'<text x="{beside[0]}" y="{beside[1]}" fill="{colour}">{escape(label)}</text>')
    return "".join(parts)
