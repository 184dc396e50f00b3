"""What a guide can give and what a product reaches, on scenes whose truth is known.

Run: python examples/benchmark/limits.py [--only WORD ...] [--model auto] [--scale 4]

Sharpens scenes as a user would, blur and shift estimated, and prints a line a scene: PSNR of interpolation, of the
product, of the local linear estimate that is fitted to the truth (unbiased and from leave-one-out residuals, see
`dualsr_geo.evaluation.guide_bound`), of the truth's noise; the share; and processor seconds of product and bound.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rioxarray  # noqa: F401  # registers .rio
import torch
from combinations import undisturbed
from degradations import DEGRADATIONS
from run import located

from dualsr_geo.engine.options import Options
from dualsr_geo.evaluation.guide_bound import guide_bound, noise_ceiling_db
from dualsr_geo.evaluation.wald_protocol import WaldTrial
from dualsr_geo.io.scenes import open_scene

GUIDES = {"wv2": ("own",), "sn6": ("own",)}
SCENES = ("sponges-middle", "thread_spools-middle", "jasper", "sandiego", "enmap", "wv2", "sn6")
CASES = tuple(
    (scene, guide, degradation)
    for degradation in ("mtf", "sfpn-noise")
    for scene in SCENES
    for guide in GUIDES.get(scene, ("rgb", "pan"))
)


def line(scene: str, guide: str, degradation: str, model: str, ratio: int) -> str:
    """Sharpen one scene; return its line of the table."""
    pair, coregister = undisturbed(scene, guide, ratio, degradation), DEGRADATIONS[degradation].coregister
    assert pair.guide is not None
    low, sharp, truth = located(pair.scene, float(ratio)), located(pair.guide, 1.0), located(pair.reference, 1.0)
    began = time.process_time()
    lazy = low.dualsr.upscale(scale=ratio, rgb=sharp, model=model, coregister=coregister)
    product = lazy.compute(scheduler="single-threaded").to_numpy()
    end, peak = time.process_time(), float(pair.reference.max())
    reached = 20 * np.log10(peak) - 10 * np.log10(((product - pair.reference).astype(np.float64) ** 2).mean())
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        low.rio.to_raster(directory / "scene.tif")
        sharp.rio.to_raster(directory / "guide.tif")
        reference = open_scene(truth)
        trial = WaldTrial(
            directory / "scene.tif",
            (directory / "guide.tif",),
            reference.source,
            reference.geobox,
            ratio,
            directory,
            "",
        )
        bound = guide_bound(trial, Options(jobs=1, coregister=coregister), peak)
        cost = time.process_time() - end
    assert bound is not None
    share, ceiling = bound.share(float(reached)), noise_ceiling_db(reference.source, peak)
    figures = (bound.interpolation_psnr_db, reached, bound.guide_psnr_db, bound.cross_validated_psnr_db)
    cells = [*(f"{value:.2f}" for value in figures), "" if ceiling is None else f"{ceiling:.1f}"]
    cells += ["" if share is None else f"{100 * share:.0f}", f"{100 * bound.freedom_share:.0f}"]
    return " | ".join([scene, guide, degradation, model, *cells, f"{end - began:.1f}", f"{cost:.1f}"])


def table(cases: Sequence[tuple[str, str, str]], model: str, ratio: int) -> Iterator[str]:
    """Yield the lines of a table, one a scene."""
    yield (
        "| scene | guide | degradation | model | interpolation dB | product dB | guide dB | leave-one-out dB | noise dB "
        "| share % | freedom % | product s | bound s |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for case in cases:
        yield f"| {line(*case, model, ratio)} |"


def main(words: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="values that a case must have")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--scale", type=int, default=4)
    arguments = parser.parse_args(words)
    for text in table([c for c in CASES if set(arguments.only) <= set(c)], arguments.model, arguments.scale):
        print(text, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
