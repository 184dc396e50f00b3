"""Temperatures sharpened by optical bands: our models next to TsHARP, a data mining sharpener and kriging.

Run: python examples/benchmark/thermal.py [--images olinda] [--ratios 3 4 8] [--noises 0.1 0.4]

Simulated cases (`temperatures.py`), and with --real bands of Landsat 8 and 5 one level down. The methods of others are given the true blur, and their best setting counts; ours
estimate it.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from atprk import AREAS, atprk
from dms import LEAVES, dms
from glp import RIDGES, glp
from periodic import Floats, Inputs
from run import located
from temperatures import DELIVERIES, IMAGES, NOISES_K, Temperatures, measured, sensor_psf, simulated
from tsharp import DEGREES, tsharp

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


METHODS: dict[str, Callable[[Temperatures], Floats]] = {
    "bicubic": lambda one: ours(one, "bicubic"),
    "TsHARP": lambda one: _best(tsharp, DEGREES, inputs(one, one.optical.ndvi[None].astype(np.float32)), one.truth),
    "DMS": lambda one: _best(dms, LEAVES, inputs(one, one.optical.bands), one.truth),
    "ATPRK": lambda one: _best(atprk, AREAS, inputs(one, one.optical.bands), one.truth),
    "GLP": lambda one: _best(glp, RIDGES, inputs(one, one.optical.bands), one.truth),
    "regression": lambda one: ours(one, "regression"),
    "auto": lambda one: ours(one, "auto"),
}


def error(made: Floats, truth: Floats, ratio: int) -> tuple[float, float]:
    """Return the root mean square error and the bias, K."""
    edge = EDGE_LR * ratio
    difference = (made - truth)[0, edge:-edge, edge:-edge].astype(np.float64)
    return float(np.sqrt((difference**2).mean())), float(difference.mean())


def cases(images: list[str], ratios: list[int], noises: list[float]) -> Iterator[tuple[str, Temperatures]]:
    """Yield the simulated cases with their names."""
    for name in images:
        for ratio in ratios:
            for noise in noises:
                yield f"{name} x{ratio}, {noise:g} K", simulated(name, ratio, noise)


def real_cases() -> Iterator[tuple[str, Temperatures]]:
    """Yield the measured cases with their names."""
    for name in DELIVERIES:
        yield f"{name} x4", measured(name, 4)


def table(of: Iterator[tuple[str, Temperatures]], methods: Sequence[str]) -> Iterator[str]:
    """Yield a line a case: the errors in K, and the largest bias."""
    yield f"| case | {' | '.join(methods)} | largest bias |"
    yield f"|---|{'---|' * len(methods)}---|"
    for name, one in of:
        scores = [error(METHODS[method](one), one.truth, one.ratio) for method in methods]
        bias = max((b for _, b in scores), key=abs)
        yield f"| {name} | {' | '.join(f'{rms:.2f}' for rms, _ in scores)} | {bias:+.2f} |"


def main() -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", nargs="+", default=list(IMAGES), choices=list(IMAGES))
    parser.add_argument("--ratios", nargs="+", type=int, default=list(RATIOS))
    parser.add_argument("--noises", nargs="+", type=float, default=list(NOISES_K))
    parser.add_argument("--real", action="store_true", help="the bands of Landsat 8 and 5 instead")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    of = real_cases() if arguments.real else cases(arguments.images, arguments.ratios, arguments.noises)
    for line in table(of, arguments.methods):
        print(line, flush=True)


if __name__ == "__main__":
    main()
