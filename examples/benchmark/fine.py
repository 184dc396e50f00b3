"""Gain of each fine stage over its coarse estimate, and its cost.

Run: python examples/benchmark/fine.py [--scenes jasper enmap] [--models auto] [--ratios 4] [--out fine.csv]

The scene is surveyed once (blur and shift estimated), and sharpened by the model without a fine stage (`none`), with
its own fine stage, and with each other one, whole and in memory, on one thread. Seconds are CPU time of
the tiles; the fit, which is done once for a scene of any size, is separate.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from degradations import DEGRADATIONS
from numpy.typing import NDArray
from scenes import cut, guide, load

from dualsr_geo.engine.fine_stage import fit as fine_stage_fit
from dualsr_geo.engine.tiles.context import TileContext, guide_window
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.evaluation import metrics
from dualsr_geo.models.definition import with_fine
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey

Floats = NDArray[np.float32]
FINE = ("none", "consistency", "finenet", "finenet-per-tile", "backprojection", "backprojection-pixel")
SCENES = ("jasper", "sandiego", "enmap", "wv2", "sn6", "sponges", "thread_spools")
COLUMNS = (
    "scene", "ratio", "guide", "degradation", "model", "fine", "psnr_db", "sam_deg", "gain_db", "share", "best",
    "fit_s", "s_per_mpx_band",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A scene, its guide, and its reference."""

    scene: Floats
    guide: Floats
    reference: Floats
    ratio: int

    def shown(self, window: Window) -> Floats:
        """Return a window of the guide, NaN outside."""
        inside = window.clipped(self.guide.shape[1:])
        out = np.full((len(self.guide), *window.shape), np.nan, np.float32)
        out[(slice(None), *inside.within(window).slices)] = self.guide[(slice(None), *inside.slices)]
        return out

    def survey(self, options: SurveyOptions) -> Survey:
        """Survey the pair."""
        margin = sample_margin(self.ratio)
        windows = sample_windows(self.scene.shape[1:])
        some = [
            Sample(self.scene[(slice(None), *w.slices)], self.shown(w.scaled(self.ratio).grown(margin)))
            for w in windows
        ]
        return estimate_survey(some, options)


def pair(name: str, ratio: int, kind: str, degradation: str) -> Pair:
    """Return the pair of a benchmark scene."""
    scene = cut(load(name), ratio)
    shown = guide(scene, kind)
    assert shown is not None
    observed = DEGRADATIONS[degradation].observe(scene.cube, ratio, scene.gains)
    return Pair(observed, shown, scene.cube, ratio)


def rows(one: Pair, model: str, coregister: str, stages: list[str]) -> Iterator[dict[str, str]]:
    """Yield the scores of each fine stage."""
    chosen = load_model(model)
    options = SurveyOptions(
        one.ratio,
        coregister=coregister,
        model=chosen,
    )
    known, before = one.survey(options), math.nan
    for fine in stages:
        work = _work(one, known, model, fine)

        def read(tile: Tile, work: TileContext = work) -> tuple[Floats, Floats | None]:
            near = one.shown(guide_window(work, tile)) if work.guided else None
            return one.scene[(slice(None), *tile.padded.slices)], near

        began = time.process_time()
        fitted = fine_stage_fit.fit_fine_stage(work, options, read)
        between = time.process_time()
        made = _product(replace(work, fine_stage=fitted), read)
        spent = time.process_time() - between
        psnr = metrics.psnr(made, one.reference)
        before = psnr if fine == "none" else before
        evidence = () if fitted is None else fitted.evidence
        yield {
            "fine": fine,
            "psnr_db": f"{psnr:.3f}",
            "sam_deg": f"{metrics.sam(made, one.reference):.3f}",
            "gain_db": f"{psnr - before:+.3f}",
            "share": "" if fitted is None else f"{fitted.share:.2f}",
            "best": " ".join(f"{a.ratio}x:{a.best:.2f}+-{a.error:.2f}" for a in evidence),
            "fit_s": f"{between - began:.1f}",
            "s_per_mpx_band": f"{spent / made.size * 1e6:.4f}",
        }


def _work(one: Pair, known: Survey, model: str, fine: str) -> TileContext:
    bands = len(one.scene)
    packing = Packing("float32", (1.0,) * bands, (0.0,) * bands, math.nan)
    chosen = with_fine(load_model(model), fine)
    return TileContext(one.scene.shape[1:], bands, one.ratio, 128, chosen, fine, packing, "cpu", known)


def _product(work: TileContext, read: fine_stage_fit.Read) -> Floats:
    height, width = (n * work.ratio for n in work.shape)
    out = np.empty((work.count, height, width), np.float32)
    for tile in work.tiling:
        for some, stored in sharpen_tile(work, tile, *read(tile), TileStatistics(work.count)):
            out[(some, *tile.core.scaled(work.ratio).slices)] = stored
    return out


def main() -> None:
    """Print a table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", nargs="+", default=SCENES)
    parser.add_argument("--models", nargs="+", default=["auto"])
    parser.add_argument("--ratios", nargs="+", type=int, default=[4])
    parser.add_argument("--guides", nargs="+", default=["rgb", "pan"])
    parser.add_argument("--degradations", nargs="+", default=["mtf", "sfpn-noise"])
    parser.add_argument("--fine", nargs="+", default=[f for f in FINE if f != "finenet-per-tile"])
    parser.add_argument("--out", type=Path, default=Path("fine.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    new = not arguments.out.exists()
    with arguments.out.open("a", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            table.writeheader()
        for name in arguments.scenes:
            kinds = ["own"] if load(name).guide is not None else arguments.guides
            for kind, ratio, degradation in (
                (k, r, d) for k in kinds for r in arguments.ratios for d in arguments.degradations
            ):
                one, coregister = pair(name, ratio, kind, degradation), DEGRADATIONS[degradation].coregister
                for model in arguments.models:
                    fixed = {"scene": name, "ratio": ratio, "guide": kind, "degradation": degradation, "model": model}
                    for row in rows(one, model, coregister, arguments.fine):
                        table.writerow({**fixed, **row})
                        file.flush()
                        print(*fixed.values(), *row.values(), flush=True)


if __name__ == "__main__":
    main()
