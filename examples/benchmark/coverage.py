"""How much of the truth the uncertainty of a product covers.

Run: python examples/benchmark/coverage.py [--only WORD ...] [--models auto regression]

Sharpens scenes with uncertainty, as a user would, and prints a table. The interval of 1.645 standard
deviations to either side is meant to hold 90 % of the true values.

covered   share of all values (bands, pixels) whose error is within the interval
factor    what the interval would have to be multiplied by, to cover 90 %
width     its mean width against that of one interval for all values that covers 90 %
rank      Spearman correlation of absolute error and standard deviation
bands     coverage that a tenth of the bands stay below, and a tenth exceed
range     smallest and largest coverage of a band
bright    coverage of the quarters of the pixels by brightness (mean of the reference over the bands), darkest first
detail    coverage of the quarters of a band's values by standard deviation, smallest first
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from combinations import undisturbed
from degradations import ALL_DEGRADATIONS, Floats
from disturbances import ALL_DISTURBANCES
from numpy.typing import NDArray
from run import located
from scipy.stats import rankdata

from dualsr_geo.errors import DualSRWarning

DEVIATIONS = 1.645
MOST_RANKED = 300_000
GUIDED = ("sponges", "thread_spools", "jasper", "sandiego", "enmap")
OWN = ("wv2", "sn6")
GUIDES = (*((s, g) for s in GUIDED for g in ("rgb", "pan")), *((s, "own") for s in OWN))
BLURS = ("gaussian-0.15", "gaussian-0.45")
# Scene, guide, ratio, degradation, disturbance.
CASES = (
    *((s, g, 4, "mtf", "none") for s, g in GUIDES),
    *((s, "none", 4, "mtf", "none") for s in (*GUIDED, *OWN)),
    *((s, g, 4, "mtf", noise) for noise in ("guide-noise-0.3", "guide-noise-1") for s, g in GUIDES),
    *((s, g, 4, blur, "none") for blur in BLURS for s, g in (*GUIDES, *((s, "none") for s in (*GUIDED, *OWN)))),
    *((s, g, 8, "mtf", "none") for s, g in GUIDES),
    *((s, g, 4, "sfpn-noise", "none") for s in GUIDED for g in ("rgb", "pan")),
    *((s, "none", 4, "sfpn-noise", "none") for s in GUIDED),
)
UNGUIDED_MODELS = {"regression": "interpolation"}


@dataclass(frozen=True)
class Coverage:
    """What a run's uncertainty is worth; the module's docstring says what each is."""

    covered: float
    factor: float
    width: float
    rank: float
    bands: tuple[float, float]
    range: tuple[float, float]
    bright: tuple[float, ...]
    detail: tuple[float, ...]

    def __str__(self) -> str:
        bands, ends = (f"{100 * low:.0f} to {100 * high:.0f}" for low, high in (self.bands, self.range))
        bright, detail = (" ".join(f"{100 * v:.0f}" for v in shares) for shares in (self.bright, self.detail))
        return (
            f"{100 * self.covered:.1f} | {self.factor:.2f} | {self.width:.2f} | {self.rank:.2f} | {bands} | {ends} | "
            f"{bright} | {detail}"
        )


def coverage(product: Floats, sigma: Floats, reference: Floats) -> Coverage:
    """Compare errors with their standard deviations; all (band, y, x), NaN for nodata."""
    wrong, half = np.abs(product - reference), DEVIATIONS * sigma
    known = np.isfinite(wrong) & np.isfinite(half)
    inside = wrong <= half
    each = [float(inside[b][known[b]].mean()) for b in range(len(wrong)) if known[b].any()]
    brightness = np.broadcast_to(reference.mean(0), inside.shape)
    bright = quarters(inside[known], brightness[known])
    detail = np.mean([quarters(i[k], h[k]) for i, h, k in zip(inside, half, known, strict=True) if k.any()], 0)
    wrong, half = wrong[known], half[known]
    step = max(1, wrong.size // MOST_RANKED)
    ranks = [rankdata(v[::step]) for v in (wrong, half)]
    return Coverage(
        float((wrong <= half).mean()),
        float(np.quantile(wrong / np.maximum(half, 1e-12), 0.9)),
        float(half.mean() / np.quantile(wrong, 0.9)),
        float(np.corrcoef(*ranks)[0, 1]),
        (float(np.quantile(each, 0.1)), float(np.quantile(each, 0.9))),
        (min(each), max(each)),
        bright,
        tuple(detail.tolist()),
    )


def quarters(inside: NDArray[np.bool_], by: Floats) -> tuple[float, ...]:
    """Return the covered shares of the quarters of values (value,), lowest first."""
    return tuple(float(inside[part].mean()) for part in np.array_split(np.argsort(by, kind="stable"), 4))


def run(scene: str, guide: str, ratio: int, degradation: str, disturbance: str, model: str) -> Coverage:
    """Sharpen one scene by one model."""
    pair = ALL_DISTURBANCES[disturbance].apply(undisturbed(scene, guide, ratio, degradation))
    shown = None if pair.guide is None else located(pair.guide, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        lazy = located(pair.scene, float(ratio)).dualsr.upscale(
            scale=ratio, rgb=shown, model=model, uncertainty=True, coregister=ALL_DEGRADATIONS[degradation].coregister
        )
        made = lazy.compute(scheduler="single-threaded")
    product, sigma = (made[name].to_numpy() for name in made.data_vars)
    return coverage(product, sigma, pair.reference)


def table(cases: Sequence[tuple[str, str, int, str, str]], models: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table, one a run."""
    yield (
        "| scene | guide | ratio | degradation | disturbance | model | covered % | factor | width | rank | bands % | "
        "range % | bright % | detail % |"
    )
    yield "|" + 14 * "---|"
    for case in cases:
        for model in models:
            named = UNGUIDED_MODELS.get(model, model) if case[1] == "none" else model
            yield f"| {' | '.join(map(str, case))} | {named} | {run(*case, named)} |"


def main(words: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="values that a case must have")
    parser.add_argument("--models", nargs="+", default=["auto", "regression"])
    arguments = parser.parse_args(words)
    cases = [c for c in CASES if set(arguments.only) <= set(map(str, c))]
    for line in table(cases, arguments.models):
        print(line, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
