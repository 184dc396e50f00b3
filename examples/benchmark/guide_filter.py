"""Time and quality of the filter of the guide's noise: `python examples/benchmark/guide_filter.py`.

First the processor time for guides of 1, 2, 3, 4 and 10 bands, s per million pixels on one thread. Then the PSNR of
guides of real scenes with white noise, before and after the filter, which is given the noise's level.
"""

from __future__ import annotations

import math
import time

import numpy as np
import scenes
import torch
from numpy.typing import NDArray

from dualsr_geo.fusion.guide_noise.filter import GuideFilter

Floats = NDArray[np.float32]

BAND_COUNTS = (1, 2, 3, 4, 10)
SIDE_PX = 1024
REPETITIONS = 3
NAMES = ("sponges", "thread_spools", "jasper", "samson", "sandiego")
# The largest scenes are cut to their middle.
MAX_SIDE_PX = 256
# Standard deviations, shares of the guide's 99.9th percentile.
LEVELS = (0.003, 0.01)


def filter_of(guide: Floats, level: float) -> GuideFilter:
    """Return the filter of a guide with equal noise in all directions."""
    flat = guide.reshape(len(guide), -1)
    vectors = np.linalg.eigh(np.cov(flat).reshape(len(flat), -1))[1][:, ::-1]
    return GuideFilter(flat.mean(1), vectors.astype(np.float32), np.full(len(flat), level, np.float32))


def seconds_per_mpx(bands: int) -> float:
    """Return the processor time of a guide of noise, the least of some repetitions."""
    guide = np.random.default_rng(0).standard_normal((bands, SIDE_PX, SIDE_PX)).astype(np.float32)
    one, planes, times = filter_of(guide, 1.0), torch.from_numpy(guide), []
    for _ in range(REPETITIONS):
        start = time.process_time()
        one(planes)
        times.append(time.process_time() - start)
    return min(times) / (SIDE_PX**2 / 1e6)


def psnr(guide: Floats, clean: Floats, peak: float) -> float:
    """Return the PSNR of a guide, dB."""
    return float(10 * math.log10(peak**2 / float(np.mean((guide - clean) ** 2, dtype=np.float64))))


def middle(guide: Floats) -> Floats:
    """Return the middle of a guide."""
    rows, columns = (slice(max(0, (n - MAX_SIDE_PX) // 2), (n + MAX_SIDE_PX) // 2) for n in guide.shape[1:])
    return np.ascontiguousarray(guide[:, rows, columns])


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    for bands in BAND_COUNTS:
        print(f"{bands:2} bands: {seconds_per_mpx(bands):.2f} s per million pixels", flush=True)
    for name in NAMES:
        for kind in ("rgb", "pan"):
            guide = scenes.guide(scenes.load(name), kind)
            if guide is None:
                continue
            clean = middle(guide)
            peak = float(np.percentile(clean, 99.9))
            for share in LEVELS:
                noise = np.random.default_rng(0).standard_normal(clean.shape)
                noisy = (clean + share * peak * noise).astype(np.float32)
                filtered = filter_of(noisy, share * peak)(torch.from_numpy(noisy)).numpy()
                before, after = psnr(noisy, clean, peak), psnr(filtered, clean, peak)
                print(f"{name:14} {kind} {100 * share:3g} %: {before:.2f} -> {after:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
