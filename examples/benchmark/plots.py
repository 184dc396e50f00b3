"""The plots of the results page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cases import FIGURES, Runs, case_of
from degradations import DEGRADATIONS
from disturbances import DISTURBANCES
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualsr_geo.models.registry import models

PSNR = FIGURES[0]
# Points beyond it are drawn on the frame, so that the others remain distinguishable.
LOWEST_DB = -8.0
MARKERS = "oDsv^<>Pp*hX"


def gain(runs: Runs, path: Path) -> None:
    """Plot the PSNR over that of bicubic, a line a case and a panel a degradation."""
    shown = [name for name in DEGRADATIONS if runs.cases(name)]
    cases = sorted({case for name in shown for case in runs.cases(name)}, key=lambda case: case.place)
    figure = Figure(figsize=(4 * max(1, len(shown)) + 1, 0.24 * len(cases) + 1.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, max(1, len(shown)), sharey=True))
    for axes, degradation in zip(panels, shown, strict=False):
        for model in (m for m in runs.models if m != "bicubic"):
            points = []
            for i, case in enumerate(cases):
                value, plain = (runs.value(case, degradation, m, PSNR) for m in (model, "bicubic"))
                if value is not None and plain is not None:
                    points.append((max(value - plain, LOWEST_DB), i))
            _dots(axes, model, points)
        axes.set(title=degradation, xlabel="PSNR over bicubic, dB")
        axes.set_yticks(range(len(cases)), [str(case) for case in cases])
        axes.axvline(0, color="0.6", zorder=0)
        axes.grid(color="0.92", zorder=0)
    panels[0].invert_yaxis()
    _finish(figure, panels[0], path)


def robustness(runs: Runs, path: Path) -> None:
    """Plot the change of PSNR under each disturbance, a point a case and a column a model."""
    names = [name for name in DISTURBANCES if name != "none"]
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, model in enumerate(runs.models):
        offset = (i - (len(runs.models) - 1) / 2) * 0.8 / len(runs.models)
        changes = [(row, change) for row, change in runs.changes() if row["model"] == model]
        changes.sort(key=lambda pair: case_of(pair[0]).place)
        points = [(names.index(r["disturbance"]) + offset, max(change, LOWEST_DB)) for r, change in changes]
        _dots(axes, model, points)
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="change of PSNR, dB")
    axes.axhline(0, color="0.6", zorder=0)
    axes.grid(axis="y", color="0.92", zorder=0)
    _finish(figure, axes, path)


def _dots(axes: Axes, model: str, points: Sequence[tuple[float, float]]) -> None:
    place = list(models()).index(model)
    x, y = np.array(points).reshape(-1, 2).T
    axes.scatter(x, y, s=20, color=f"C{place}", marker=MARKERS[place % len(MARKERS)], alpha=0.8, label=model, zorder=2)


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the name of the software the same table gives the same file.
    figure.savefig(path, dpi=80, metadata={"Software": None})
