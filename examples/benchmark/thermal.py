"""Temperatures sharpened by optical bands: our models next to TsHARP, a data mining sharpener and kriging.

Run: python examples/benchmark/thermal.py [--images olinda] [--ratios 3 4 8] [--noises 0.1 0.4]

Simulated cases (`temperatures.py`). The methods of others are given the true blur, and their best setting counts; ours
estimate it.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from atprk import AREAS, atprk
from dms import LEAVES, dms
from glp import RIDGES, glp
from periodic import Floats, Inputs
from run import located
from temperatures import IMAGES, NOISES_K, Temperatures, sensor_psf, simulated
from tsharp import DEGREES, tsharp

import dualsr_geo
from dualsr_geo.errors import DualSRWarning

RATIOS = (3, 4, 8)
# Pixels at the edge that are not scored, lr pixels.
EDGE_LR = 2


def ours(one: Temperatures, model: str, guide: Floats | None = None) -> Floats:
    """Return the product of a model of ours, (1, y, x)."""
    scene = located(one.scene, float(one.ratio))
    bands = None if model == "bicubic" else located(one.optical.bands if guide is None else guide, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        lazy = scene.dualsr.upscale(scale=one.ratio, rgb=bands, model=model)
        made: Floats = lazy.compute(scheduler="single-threaded").to_numpy()
    return made


def inputs(one: Temperatures, guide: Floats) -> Inputs:
    """Return what the methods of others are given."""
    return Inputs(one.scene, guide, sensor_psf(one.ratio), np.zeros((len(guide), 1)))


def _best(
    method: Callable[[Inputs, float], Floats], settings: tuple[float, ...], given: Inputs, truth: Floats
) -> Floats:
    return min(
        (method(given, setting) for setting in settings), key=lambda made: error(made, truth, given.psf.ratio)[0]
    )


def products(one: Temperatures) -> Iterator[tuple[str, Floats]]:
    """Yield the name and the product of each method."""
    optical, truth = inputs(one, one.optical.bands), one.truth
    index = inputs(one, one.optical.ndvi[None].astype(np.float32))
    yield "bicubic", ours(one, "bicubic")
    yield "TsHARP", _best(tsharp, DEGREES, index, truth)
    yield "DMS", _best(dms, LEAVES, optical, truth)
    yield "ATPRK", _best(atprk, AREAS, optical, truth)
    yield "GLP", _best(glp, RIDGES, optical, truth)
    yield "regression", ours(one, "regression")
    yield "auto", ours(one, "auto")


def error(made: Floats, truth: Floats, ratio: int) -> tuple[float, float]:
    """Return the root mean square error and the bias, K."""
    edge = EDGE_LR * ratio
    difference = (made - truth)[0, edge:-edge, edge:-edge].astype(np.float64)
    return float(np.sqrt((difference**2).mean())), float(difference.mean())


def table(images: list[str], ratios: list[int], noises: list[float]) -> Iterator[str]:
    """Yield a line a case: the errors in K, and the largest bias."""
    names: list[str] = []
    for name in images:
        for ratio in ratios:
            for noise in noises:
                one = simulated(name, ratio, noise)
                scores = {method: error(made, one.truth, ratio) for method, made in products(one)}
                if not names:
                    names = list(scores)
                    yield f"| image | ratio | noise, K | {' | '.join(names)} | largest bias |"
                    yield f"|---|---|---|{'---|' * len(names)}---|"
                bias = max(abs(b) for _, b in scores.values())
                values = " | ".join(f"{scores[n][0]:.2f}" for n in names)
                yield f"| {name} | {ratio} | {noise:g} | {values} | {bias:.2f} |"


def main() -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", nargs="+", default=list(IMAGES), choices=list(IMAGES))
    parser.add_argument("--ratios", nargs="+", type=int, default=list(RATIOS))
    parser.add_argument("--noises", nargs="+", type=float, default=list(NOISES_K))
    arguments = parser.parse_args()
    for line in table(arguments.images, arguments.ratios, arguments.noises):
        print(line, flush=True)


if __name__ == "__main__":
    assert dualsr_geo.__version__
    main()
