"""Loss by guides that are displaced by a smooth field, with and without `--coregister local`.

Run: python examples/benchmark/displaced.py [--only WORD ...] [--model regression]

The field is a random cubic B-spline with nodes half or a quarter of the scene apart, at most 3 hr pixels
long. The guide extends two lr pixels beyond the scene, so that no pixels are missing where the field moves it
inwards. `true` is the guide displaced and warped back by the true field: the loss by two interpolations,
without an estimate.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from combinations import undisturbed
from degradations import Floats
from disturbances import Pair
from numpy.typing import NDArray
from run import located
from scipy.ndimage import map_coordinates

from dualsr_geo.errors import DualSRWarning
from dualsr_geo.evaluation import metrics
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.displacement_field import DisplacementField

RATIO, RIM_LR, LARGEST_PX = 4, 2, 3.0
SCALES = {"half": 2, "quarter": 4}
CASES = (
    *((scene, kind) for scene in ("jasper", "sandiego", "enmap", "samson") for kind in ("rgb", "pan")),
    ("wv2", "own"),
    ("sn6", "own"),
    ("sponges", "rgb"),
)


def random_field(shape: tuple[int, int], intervals: int, seed: int) -> DisplacementField:
    """Return a random field over hr pixels with a maximum of `LARGEST_PX`."""
    nodes = np.random.default_rng(seed).uniform(-1, 1, (2, intervals + 3, intervals + 3)).astype(np.float32)
    field = DisplacementField(shape, nodes)
    longest = np.hypot(*field.at(Window(0, shape[0], 0, shape[1]))).max()
    return replace(field, nodes=(nodes * (LARGEST_PX / longest)).astype(np.float32))


def displaced(guide: Floats, field: DisplacementField) -> Floats:
    """Displace a guide's content by a field: the inverse of `DisplacementField.moved`."""
    height, width = guide.shape[1:]
    away = field.at(Window(0, height, 0, width))
    y, x = np.mgrid[:height, :width].astype(float)
    inverse = away
    for _ in range(30):
        inverse = np.stack(
            [map_coordinates(a, [y - inverse[0], x - inverse[1]], order=3, mode="nearest") for a in away]
        )
    return taken(guide, y - inverse[0], x - inverse[1])


def taken(guide: Floats, y: NDArray[np.float64], x: NDArray[np.float64]) -> Floats:
    """Interpolate a guide at positions, hr pixels."""
    planes = [map_coordinates(plane.astype(float), [y, x], order=5, mode="mirror") for plane in guide]
    return np.stack(planes).astype(np.float32)


def inner(pair: Pair) -> Pair:
    """Cut the edge off the scene and its reference, but not off the guide."""
    lr, hr = (np.s_[:, n:-n, n:-n] for n in (RIM_LR, RIM_LR * RATIO))
    return replace(pair, scene=pair.scene[lr], reference=pair.reference[hr])


def product(pair: Pair, guide: Floats | None, coregister: str, model: str) -> Floats:
    """Sharpen the inner part of a pair with the accessor."""
    scene, shown = located(pair.scene, float(RATIO)), None
    if guide is not None:
        shown, rim = located(guide, 1.0), RIM_LR * RATIO
        shown = shown.assign_coords(y=shown.y + rim, x=shown.x - rim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        lazy = scene.dualsr.upscale(scale=RATIO, rgb=shown, model=model, coregister=coregister)
        made: Floats = lazy.compute(scheduler="single-threaded").to_numpy()
    return made


def ergas(pair: Pair, guide: Floats, coregister: str, model: str) -> float:
    """Return the ERGAS of a product."""
    return float(metrics.ergas(product(pair, guide, coregister, model), pair.reference, ratio=RATIO))


def rows(cases: Sequence[tuple[str, str]], model: str) -> Iterator[str]:
    """Yield the lines of a table, one a field."""
    yield "| scene | guide | field | undisplaced | with local | displaced | with local | won back | true |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for scene, kind in cases:
        whole = undisturbed(scene, kind, RATIO, "mtf")
        assert whole.guide is not None
        pair = inner(whole)
        still = [ergas(pair, whole.guide, how, model) for how in ("auto", "local")]
        height, width = whole.guide.shape[1:]
        for name, intervals in SCALES.items():
            field = random_field((height, width), intervals, pair.seed)
            guide = displaced(whole.guide, field)
            away = field.at(Window(0, height, 0, width)) + np.mgrid[:height, :width]
            lost, won = (ergas(pair, guide, how, model) for how in ("auto", "local"))
            best = ergas(pair, taken(guide, *away), "auto", model)
            back = [f"{100 * (lost - e) / (lost - still[0]):.0f} %" for e in (won, best)]
            cells = [f"{e:.3f}" for e in (*still, lost, won)]
            yield f"| {scene} | {kind} | {name} | {' | '.join(cells)} | {' | '.join(back)} |"


def main() -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="scenes or guides")
    parser.add_argument("--model", default="regression")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in rows([c for c in CASES if not arguments.only or set(c) & set(arguments.only)], arguments.model):
        print(line, flush=True)


if __name__ == "__main__":
    main()
