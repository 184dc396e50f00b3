"""The detail assessment on the scene's Wald pair, compared with the truth.

Run: python examples/benchmark/hallucination.py [--only WORD ...] [--models auto]

Sharpens scenes as a user would, blur and shift estimated, and prints shares of the true detail in
percent, means over the bands: first the estimate of the survey, then the same measured
on the product against the reference. Columns are those of `dualsr_geo.surveying.detail`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from combinations import undisturbed
from degradations import DEGRADATIONS, Floats
from disturbances import Pair
from run import located

from dualsr_geo.degradation.noise import estimate_noise
from dualsr_geo.degradation.operators import operator
from dualsr_geo.models.registry import load_model
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying import detail
from dualsr_geo.surveying.detail import DetailAssessment, Piece
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey

RATIO = 4
GUIDES = {"wv2": ("own", "none"), "sn6": ("own", "none")}
SCENES = ("sponges", "thread_spools", "jasper", "sandiego", "enmap", "wv2", "sn6")
CASES = tuple(
    (scene, guide, degradation)
    for degradation in ("mtf", "sfpn-noise")
    for scene in SCENES
    for guide in GUIDES.get(scene, ("rgb", "pan", "none"))
)
SHARES = ("improvement", "hallucination", "guide", "neither")


def surveyed(pair: Pair, model: str, coregister: str) -> Survey:
    """Survey a pair as `upscale` does."""
    chosen, margin, ratio = load_model(model), sample_margin(pair.ratio), pair.ratio
    guide = pair.guide
    if guide is not None:
        guide = np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    samples = []
    for window in sample_windows((pair.scene.shape[1], pair.scene.shape[2])):
        rows, columns = window.slices
        hr = window.scaled(ratio).grown(margin)
        near = None if guide is None else guide[:, hr.y0 + margin : hr.y1 + margin, hr.x0 + margin : hr.x1 + margin]
        samples.append(Sample(pair.scene[:, rows, columns], near))
    return estimate_survey(samples, SurveyOptions(ratio, coregister=coregister, model=chosen, detail=True))


def true_detail(pair: Pair, product: Floats, known: Survey) -> DetailAssessment:
    """Return the detail assessment of the product against the reference."""
    op = operator(known.psf, (pair.scene.shape[1], pair.scene.shape[2]))
    made, reference = torch.from_numpy(product), torch.from_numpy(pair.reference)
    guide = torch.zeros(0, *made.shape[1:]) if pair.guide is None else torch.from_numpy(pair.guide)
    plain, low = (op.upsample(op.degrade(planes)) for planes in (reference, guide))
    valid = torch.ones(made.shape[1:], dtype=torch.bool)
    noise = estimate_noise([pair.reference], [np.ones(made.shape[1:], np.float32)])
    return detail.measure([Piece(made, reference, plain, guide - low, valid)], noise, pair.ratio)


def run(scene: str, guide: str, degradation: str, model: str) -> tuple[DetailAssessment, DetailAssessment]:
    """Sharpen one scene; return the estimate of its detail assessment, and the true one."""
    pair = undisturbed(scene, guide, RATIO, degradation)
    coregister = DEGRADATIONS[degradation].coregister
    known = surveyed(pair, model, coregister)
    shown = None if pair.guide is None else located(pair.guide, 1.0)
    lazy = located(pair.scene, float(RATIO)).dualsr.upscale(scale=RATIO, rgb=shown, model=model, coregister=coregister)
    product: Floats = lazy.compute(scheduler="single-threaded").to_numpy()
    assert known.detail is not None
    return known.detail, true_detail(pair, product, known)


def table(cases: Sequence[tuple[str, str, str]], models: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table, one a run."""
    yield "| scene | guide | degradation | model | pair | improved | hallucinated | guide | neither | contradicted |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for case in cases:
        for model in models:
            named = "interpolation" if model == "regression" and case[1] == "none" else model
            estimate, true = run(*case, named)
            cells = [f"{_mean(estimate, name)} / {_mean(true, name)}" for name in SHARES]
            taken = "" if estimate.contradicted is None else f"{100 * np.nanmean(estimate.contradicted):.0f}"
            yield f"| {' | '.join(case)} | {named} | {estimate.ratio}x | {' | '.join(cells)} | {taken} |"


def _mean(found: DetailAssessment, name: str) -> str:
    return f"{100 * float(np.nanmean(getattr(found, name))):.0f}"


def main(words: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="values that a case must have")
    parser.add_argument("--models", nargs="+", default=["auto"])
    arguments = parser.parse_args(words)
    for line in table([c for c in CASES if set(arguments.only) <= set(c)], arguments.models):
        print(line, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
