"""Value of the survey's estimates of blur, shift and noise.

Run: python examples/benchmark/estimates.py [--scenes jasper enmap] [--model regression]

Two tables. The first: scenes whose blur is 30 % narrower or wider than usual, or whose pixels are shifted by
half an hr pixel; PSNR with the known blur, and the loss relative to it with the estimate of the survey,
with a named sensor of another blur that the survey must reject, and with that blur given. The second:
the estimated noise, and the difference between the degraded product and the scene.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from degradations import DEGRADATIONS, SFPN_NOISE
from fine import SCENES, Pair, pair

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.tiles.context import TileContext, guide_window
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.evaluation import metrics
from dualsr_geo.models.definition import with_fine
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.packing import Packing
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

RATIO = 4
USUAL_MTF_GAIN = 0.3
# Width of the blur against the usual one, and its shift, hr pixels.
BLURS = {"30 % narrower": (0.7, 0.0), "30 % wider": (1.3, 0.0), "0.5 px off": (1.0, 0.5)}


def blurred(one: Pair, psf: Psf) -> Pair:
    """Degrade the pair's reference with another blur."""
    shape = one.scene.shape[1:]
    return replace(one, scene=operator(psf, shape).degrade(torch.from_numpy(one.reference)).numpy())


def product(one: Pair, known: Survey, model: str) -> tuple[np.ndarray, TileStatistics]:
    """Sharpen a pair whole, in memory."""
    bands, shape = len(one.scene), one.scene.shape[1:]
    floats = Packing("float32", (1.0,) * bands, (0.0,) * bands, math.nan)
    chosen = load_model(model)
    work = TileContext(
        shape, bands, one.ratio, 10**6, with_fine(chosen, chosen.fine), chosen.fine, floats, "cpu", known
    )
    tile, counted = work.tiling[0], TileStatistics(bands)
    out = np.empty_like(one.reference)
    near = one.shown(guide_window(work, tile))
    for rows, stored in sharpen_tile(work, tile, one.scene, near, counted):
        out[rows] = stored
    return out, counted


def survey_options(model: str, **known: Psf | float | None) -> SurveyOptions:
    """Return the survey's options of a run; the guide is not moved, since the reference is registered to it."""
    return SurveyOptions(RATIO, coregister="off", model=load_model(model), **known)


def lost(one: Pair, psf: Psf, model: str) -> tuple[float, list[float]]:
    """Return the PSNR with the known blur, and the losses with other sources of the blur, dB."""
    usual = Psf.from_mtf(RATIO, USUAL_MTF_GAIN)
    ways = ({"psf": psf}, {}, {"mtf_gain": USUAL_MTF_GAIN}, {"psf": usual})
    known, *others = (
        metrics.psnr(product(one, one.survey(survey_options(model, **way)), model)[0], one.reference) for way in ways
    )
    return known, [known - o for o in others]


def blur_table(scenes: list[str], model: str) -> Iterator[str]:
    """Yield the first table, a line a case, and the worst of each column."""
    yield "| scene, guide | blur | known, dB | estimated | another sensor named | not estimated |"
    yield "|---|---|---|---|---|---|"
    every = []
    for name, kind in cases(scenes):
        sharp = pair(name, RATIO, kind, "mtf")
        for title, (times, shift) in BLURS.items():
            sigma = times * Psf.from_mtf(RATIO, USUAL_MTF_GAIN).sigma_px[0]
            psf = Psf.gaussian(RATIO, (sigma, sigma), (shift, shift))
            known, losses = lost(blurred(sharp, psf), psf, model)
            every.append(losses)
            yield f"| {name} {kind} | {title} | {known:.2f} | " + " | ".join(f"{v:+.3f}" for v in losses) + " |"
    worst = np.max(every, axis=0)
    yield "| worst | | | " + " | ".join(f"{v:+.3f}" for v in worst) + " |"


def noise_table(scenes: list[str], model: str) -> Iterator[str]:
    """Yield the second table."""
    yield "| scene, guide | added noise | estimate | its standard error | degraded product - scene | of the range |"
    yield "|---|---|---|---|---|---|"
    for name, kind in cases(scenes):
        for degradation, true in (("mtf", 0.0), ("sfpn-noise", SFPN_NOISE)):
            one = pair(name, RATIO, kind, degradation)
            known = one.survey(replace(survey_options(model), coregister=DEGRADATIONS[degradation].coregister))
            _, counted = product(one, known, model)
            away = math.sqrt(float(np.sum(counted.square)) / float(np.sum(counted.pixels)))
            assert known.noise_error is not None
            found, error = (
                float(np.sqrt((v.astype(float) ** 2).mean())) for v in (known.statistics.noise, known.noise_error)
            )
            span = float(one.scene.max() - one.scene.min())
            yield f"| {name} {kind} | {true:.5f} | {found:.5f} | {error:.5f} | {away:.5f} | {away / span:.1e} |"


def cases(scenes: list[str]) -> list[tuple[str, str]]:
    """Return scenes with their guides."""
    return [(s, g) for s in scenes for g in (("own",) if s in ("wv2", "sn6") else ("rgb", "pan"))]


def main() -> None:
    """Print both tables line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", nargs="+", default=list(SCENES))
    parser.add_argument("--model", default="regression")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for table in (blur_table, noise_table):
        for line in table(arguments.scenes, arguments.model):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
