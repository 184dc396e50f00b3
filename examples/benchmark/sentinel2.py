"""Sentinel-2's 20 m and 60 m bands guided by its 10 m bands, one level down, next to methods of others.

    python examples/benchmark/sentinel2.py

All bands of a real scene are degraded by the ratio, the product is made from these, and compared with the bands as they
were. The true blur is given where the row says so, also to ours; of the settings of the others the best counts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import numpy as np
from atprk import AREAS, atprk
from degradations import degraded
from glp import RIDGES, glp
from numpy.typing import NDArray
from periodic import Inputs, spline
from run import located
from scenes import hdf5
from supreme import SMOOTHNESSES, supreme

import dualsr_geo  # noqa: F401  # registers .dualsr
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import DualSRWarning
from dualsr_geo.evaluation.metrics import score

Floats = NDArray[np.float32]
FILE = "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat"
# MTF gains at Nyquist: median of the sensor's bands of the GSD.
CASES = {"20 m": ("im20", 2, 0.335), "60 m": ("im60", 6, 0.29)}
FINE_GAIN = 0.27
OTHERS = {
    "spline": ((0.0,), lambda given, _: spline(given.scene, given.psf.ratio)),
    "atprk, areas of a pixel as published": (AREAS[:1], atprk),
    "atprk, blur given": (AREAS[1:], atprk),
    "mtf-glp, blur given": (RIDGES, glp),
    "supreme, blur given": (SMOOTHNESSES, supreme),
}


def pair(case: str) -> tuple[Floats, Floats, Floats, int, float]:
    """Return scene, guide and reference (band, y, x) of a case, its ratio and its gain."""
    name, ratio, gain = CASES[case]
    reference, fine = hdf5(FILE, name), hdf5(FILE, "im10")
    height, width = (n // ratio * ratio for n in reference.shape[1:])
    peak = reference.max()
    reference = np.ascontiguousarray(reference[:, :height, :width] / peak, np.float32)
    guide = degraded(np.ascontiguousarray(fine / peak, np.float32), ratio, FINE_GAIN)[:, :height, :width]
    return degraded(reference, ratio, gain), guide, reference, ratio, gain


def products(case: str) -> Iterator[tuple[str, Floats, float]]:
    """Yield each method, its product and the seconds of the processor."""
    scene, guide, reference, ratio, gain = pair(case)
    given = Inputs(scene, guide, Psf.from_mtf(ratio, gain), np.empty((len(guide), len(scene))))
    for name, (settings, method) in OTHERS.items():
        begin = time.process_time()
        made = [method(given, setting) for setting in settings]
        seconds = (time.process_time() - begin) / len(settings)
        yield name, min(made, key=lambda product: float(((product - reference) ** 2).mean())), seconds
    for model in ("regression", "auto"):
        for psf in (None, given.psf):
            begin = time.process_time()
            lazy = located(scene, float(ratio)).dualsr.upscale(
                scale=ratio, rgb=located(guide, 1.0), model=model, psf=psf
            )
            product = lazy.compute(scheduler="single-threaded").to_numpy()
            yield model + ", blur given" * (psf is not None), product, time.process_time() - begin


def main() -> None:
    """Print a table for each pixel size."""
    warnings.simplefilter("ignore", DualSRWarning)
    for case in CASES:
        reference, ratio = pair(case)[2:4]
        print(f"\n| {case} | PSNR, dB | SAM, degrees | ERGAS | s |\n|---|---|---|---|---|")
        for name, product, seconds in products(case):
            f = score(np.ascontiguousarray(product), reference, ratio=ratio, peak=1.0).to_json()
            print(
                f"| {name} | {f['psnr_db']:.2f} | {f['sam_deg']:.3f} | {f['ergas']:.3f} | {seconds:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
