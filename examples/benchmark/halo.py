"""Difference between a tile of a network and the whole scene, for several halos.

Run: python examples/benchmark/halo.py WEIGHTS.safetensors [--scenes sponges landsat] [--halos 0 3 ... 24]

In SFPN's coarse network each band is an input of the next, so the influence of a pixel grows along the
spectrum, and no halo is exact. The curve shows which one is sufficient. For the core of a tile in the
middle of the scene the script prints the largest and the 99.9th percentile of the absolute differences, in
shares of the scene's range, for the first band, the middle one, the last and all.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from degradations import degraded
from numpy.typing import NDArray
from scenes import cut, guide, load
from torch import Tensor

from dualsr_geo.models.band_stream import SceneWindow, bands
from dualsr_geo.models.definition import Weights
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.windows import Window

CORE = 24  # lr pixels


def inputs(name: str, weights: Weights) -> tuple[Tensor, Tensor | None]:
    """Return a scene degraded by the ratio, (band, y, x), and its guide."""
    scene = cut(load(name), weights.ratio)
    kind = (
        "none"
        if not weights.guide_bands
        else "own"
        if scene.guide is not None
        else {1: "pan", 3: "rgb"}[weights.guide_bands]
    )
    shown = guide(scene, kind)
    lr = degraded(scene.cube, weights.ratio, scene.gains[0])
    return torch.from_numpy(lr), None if shown is None else torch.from_numpy(shown)


def tile(weights: Weights, lr: Tensor, shown: Tensor | None, halo: int) -> Tensor:
    """Return the core of the middle tile, (band, y, x), computed with a halo."""
    shape = lr.shape[1], lr.shape[2]
    y, x = ((n - CORE) // 2 // weights.block * weights.block for n in shape)
    core = Window(y, y + CORE, x, x + CORE)
    padded = core.grown(halo).clipped(shape)
    part = None if shown is None else shown[:, *padded.scaled(weights.ratio).slices]
    inner = core.within(padded).scaled(weights.ratio).slices
    made = bands(weights, lr[:, *padded.slices], part, SceneWindow(padded, shape))
    return torch.stack([b[inner].clone() for b in made])


def main() -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("--scenes", nargs="+", default=["sponges", "landsat"])
    parser.add_argument("--halos", type=int, nargs="+", default=[0, 3, 6, 9, 12, 15, 18, 24])
    parser.add_argument("--published", action="store_true")
    arguments = parser.parse_args()
    weights = load_model(arguments.weights, published=arguments.published).weights
    if weights is None:
        parser.error(f"{arguments.weights} is no weights file")
    print(f"{'scene':14} {'halo':>4} {'first':>9} {'middle':>9} {'last':>9} {'all':>9} {'99.9 %':>9}")
    for name in arguments.scenes:
        curve(name, weights, arguments.halos)


def curve(name: str, weights: Weights, halos: list[int]) -> None:
    """Measure one scene and print it, halo by halo."""
    with torch.inference_mode():
        lr, shown = inputs(name, weights)
        whole = tile(weights, lr, shown, max(lr.shape))
        for halo in halos:
            wrong = (tile(weights, lr, shown, halo) - whole).abs().numpy()
            print(f"{name:14} {halo:4} " + " ".join(f"{v:9.2e}" for v in summary(wrong)), flush=True)


def summary(wrong: NDArray[np.float32]) -> list[float]:
    """Return the largest difference in the first, middle and last band and all, and the 99.9th percentile."""
    each = wrong.max((1, 2))
    return [float(v) for v in (each[0], each[len(each) // 2], each[-1], wrong.max(), np.quantile(wrong, 0.999))]


if __name__ == "__main__":
    main()
