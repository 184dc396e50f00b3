"""How much of the truth the uncertainty of a product covers.

Run: python examples/benchmark/coverage.py [--only WORD ...] [--models auto regression]

Sharpens scenes with uncertainty, as a user would, and prints a table. The interval of 1.645 standard
deviations to either side is meant to hold 90 % of the true values.

covered   share of all values (bands, pixels) whose error is within the interval
factor    what the interval would have to be multiplied by, to cover 90 %
width     its mean width against that of one interval for all values that covers 90 %
rank      Spearman correlation of absolute error and standard deviation
bands     coverage that a tenth of the bands stay below, and a tenth exceed
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
from degradations import DEGRADATIONS, Floats
from run import located
from scipy.stats import rankdata

from dualsr_geo.errors import DualSRWarning

DEVIATIONS = 1.645
MOST_RANKED = 300_000
GUIDED = ("sponges", "thread_spools", "jasper", "sandiego", "enmap")
# Scene, guide, ratio, degradation.
CASES = (
    *((s, g, 4, "mtf") for s in GUIDED for g in ("rgb", "pan")),
    *((s, "own", 4, "mtf") for s in ("wv2", "sn6")),
    *((s, "none", 4, "mtf") for s in (*GUIDED, "wv2", "sn6")),
    *((s, g, 8, "mtf") for s in GUIDED for g in ("rgb", "pan")),
    *((s, "own", 8, "mtf") for s in ("wv2", "sn6")),
    *((s, g, 4, "sfpn-noise") for s in GUIDED for g in ("rgb", "pan")),
    *((s, "none", 4, "sfpn-noise") for s in GUIDED),
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

    def __str__(self) -> str:
        low, high = self.bands
        return (
            f"{100 * self.covered:.1f} | {self.factor:.2f} | {self.width:.2f} | {self.rank:.2f} | "
            f"{100 * low:.0f} to {100 * high:.0f}"
        )


def coverage(product: Floats, sigma: Floats, reference: Floats) -> Coverage:
    """Compare errors with their standard deviations; all (band, y, x), NaN for nodata."""
    wrong, half = np.abs(product - reference), DEVIATIONS * sigma
    known = np.isfinite(wrong) & np.isfinite(half)
    each = [float((wrong[b] <= half[b])[known[b]].mean()) for b in range(len(wrong)) if known[b].any()]
    wrong, half = wrong[known], half[known]
    step = max(1, wrong.size // MOST_RANKED)
    ranks = [rankdata(v[::step]) for v in (wrong, half)]
    return Coverage(
        float((wrong <= half).mean()),
        float(np.quantile(wrong / np.maximum(half, 1e-12), 0.9)),
        float(half.mean() / np.quantile(wrong, 0.9)),
        float(np.corrcoef(*ranks)[0, 1]),
        (float(np.quantile(each, 0.1)), float(np.quantile(each, 0.9))),
    )


def run(scene: str, guide: str, ratio: int, degradation: str, model: str) -> Coverage:
    """Sharpen one scene by one model."""
    pair = undisturbed(scene, guide, ratio, degradation)
    shown = None if pair.guide is None else located(pair.guide, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        lazy = located(pair.scene, float(ratio)).dualsr.upscale(
            scale=ratio, rgb=shown, model=model, uncertainty=True, coregister=DEGRADATIONS[degradation].coregister
        )
        made = lazy.compute(scheduler="single-threaded")
    product, sigma = (made[name].to_numpy() for name in made.data_vars)
    return coverage(product, sigma, pair.reference)


def table(cases: Sequence[tuple[str, str, int, str]], models: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table, one a run."""
    yield "| scene | guide | ratio | degradation | model | covered % | factor | width | rank | bands % |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
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
