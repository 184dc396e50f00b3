"""Loss and saving of running the networks on a few anchor bands instead of all bands.

Run: python examples/benchmark/anchors.py [--scenes jasper sandiego enmap] [--bands 128] [--most 8 16 32] [--guides pan rgb none]

Each scene keeps its first bands, is degraded by 4 (protocol mtf, the blur given), and sharpened with the networks on
the given numbers of bands, and on all bands. Seconds are processor time of one thread with the survey; PSNR is over all bands.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scenes
import torch
from degradations import DEGRADATIONS
from run import located

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.evaluation.metrics import score

RATIO = 4


def measured(name: str, guide_kind: str, bands: int, most: int | None, tile: int) -> tuple[float, float, float]:
    """Return seconds, PSNR in dB and SAM in degrees with networks on at most `most` bands; None for all."""
    scene = scenes.cut(scenes.load(name), RATIO)
    cube = scene.cube[:bands]
    lr = DEGRADATIONS["mtf"].observe(scene.cube, RATIO, scene.gains)[:bands]
    near = scenes.guide(scene, guide_kind)
    guide = None if near is None else located(near, 1.0)
    options = {"spectral": len(cube) if most is None else most, "tile": tile}
    begin = time.process_time()
    lazy = located(lr, float(RATIO)).dualsr.upscale(
        scale=RATIO, rgb=guide, model="learned", psf=Psf.from_mtf(RATIO), **options
    )
    made = lazy.compute(scheduler="single-threaded").to_numpy()
    seconds = time.process_time() - begin
    found = score(made, np.ascontiguousarray(cube), ratio=RATIO, peak=1.0).to_json()
    return seconds, found["psnr_db"], found["sam_deg"]


def main() -> None:
    """Print a line a scene and guide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=["jasper", "sandiego", "enmap"])
    parser.add_argument("--guides", nargs="+", default=["pan", "rgb", "none"])
    parser.add_argument("--bands", type=int, default=128)
    parser.add_argument("--most", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--tile", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| scene | guide | all bands |", " | ".join(f"{most} bands" for most in arguments.most), "|")
    print("| --- " * (3 + len(arguments.most)) + "|")
    for name in arguments.scenes:
        for kind in arguments.guides:
            every = measured(name, kind, arguments.bands, None, arguments.tile)
            cells = [f"{every[0]:.1f} s, {every[1]:.2f} dB, {every[2]:.2f} deg"]
            for most in arguments.most:
                some = measured(name, kind, arguments.bands, most, arguments.tile)
                cells.append(f"{every[0] / some[0]:.1f}x cheaper, {some[1] - every[1]:+.2f} dB")
            print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
