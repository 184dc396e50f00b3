"""Draw a real pair whose guide is noisy, before and after denoising: the picture of docs/guides.md.

The 20 m bands of a Sentinel-2 scene are sharpened to 10 m with its own bands of 10 m, to which noise is added.

Run: python examples/figures/noisy_guide.py docs/images/noisy_guide.png
It reads the scene of examples/benchmark, from ../shared/data.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualsr_geo.errors import DualSRWarning

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmark"))
import scenes
from disturbances import full_scale
from run import located

Array = NDArray[np.float32]

FILE = "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat"
# Standard deviation of the noise, share of the guide's 99.9th percentile.
NOISE = 0.01
# lr pixels that are sharpened, and hr pixels of them that are shown.
SCENE = slice(60, 220), slice(60, 220)
SHOWN = slice(136, 196), slice(132, 192)
# B12, B8A, B05 as red, green, blue; reflectance is stretched between these percentiles of the whole product.
BANDS, PERCENTILES = (5, 3, 0), (1, 99)
# Colours of the PNG.
COLOURS = 192


def products() -> dict[str, Array]:
    """Return the scene and its products (band, y, x), by the titles of their panels."""
    cube, fine = (scenes.hdf5(FILE, name) for name in ("im20", "im10"))
    scene = cube[:, SCENE[0], SCENE[1]]
    clean = fine[:3, *(slice(2 * s.start, 2 * s.stop) for s in SCENE)]
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    noisy = clean + np.float32(NOISE * full_scale(clean)) * noise
    make = partial(sharpened, scene)
    return {
        "bands of 20 m": scene.repeat(2, 1).repeat(2, 2),
        "guide with 1 % of noise, as it is": make(noisy, denoise="off"),
        "the same guide, denoised": make(noisy, denoise="auto"),
        "guide without noise": make(clean, denoise="auto"),
    }


def sharpened(scene: Array, guide: Array, denoise: str) -> Array:
    """Return the product of a scene and a guide (band, y, x)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualSRWarning)
        lazy = located(scene, 20.0).dualsr.upscale(scale=2, rgb=located(guide, 10.0), denoise=denoise)
        return lazy.compute(scheduler="single-threaded").to_numpy()


def main(target: str) -> None:
    """Sharpen, and draw a part of each product, all with the same stretch."""
    shown = products()
    reference = shown["guide without noise"][list(BANDS)]
    low, high = np.percentile(reference, PERCENTILES, axis=(1, 2))[:, :, None, None]
    figure, axes = plt.subplots(1, 4, figsize=(16.6, 4.5), constrained_layout=True)
    for axis, (title, cube) in zip(axes, shown.items(), strict=True):
        part = cube[list(BANDS)][:, SHOWN[0], SHOWN[1]]
        picture = np.clip((part - low) / (high - low), 0, 1).transpose(1, 2, 0)
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=13)
        axis.axis("off")
    figure.savefig(target, dpi=96)
    plt.close(figure)
    Image.open(target).convert("RGB").quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "noisy_guide.png")
