"""Draw the figures of docs/how-it-works.md from a synthetic scene with a known truth.

Run: python examples/figures/how.py docs/images
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from numpy.typing import NDArray

import dualsr_geo
from dualsr_geo import synthetic

mpl.use("agg")
Array = NDArray[np.float32]
RGB_NM = (650.0, 550.0, 460.0)
# A scene with noise, with more blur than usual, and a displaced guide.
SHAPE, MTF_GAIN, SHIFT_PX, NOISE = (80, 100), 0.25, (1.3, -0.6), 0.002
CROP = (slice(150, 250), slice(30, 155))
INK = {"image.interpolation": "nearest", "axes.titlesize": 10, "font.size": 9, "savefig.dpi": 80}


def read(path: str) -> Array:
    """Read a raster as reflectance."""
    with rasterio.open(path) as file:
        return np.asarray(file.read() * synthetic.SCALE, np.float32)


def natural(cube: Array, nm: NDArray[np.float64], scale: int = 1) -> Array:
    """Return an RGB picture of the crop, (y, x, 3), 0..1."""
    bands = [int(np.abs(nm - w).argmin()) for w in RGB_NM] if len(cube) > 1 else [0, 0, 0]
    sharp = np.kron(cube[bands], np.ones((1, scale, scale), np.float32))
    return np.clip(sharp[:, CROP[0], CROP[1]] / 0.3, 0, 1).transpose(1, 2, 0) ** 0.7


def psnr(made: Array, truth: Array) -> float:
    """Return the PSNR over all bands, dB, of the truth's range."""
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((made - truth) ** 2)))


def steps(products: dict[str, Array], sample: synthetic.Sample, folder: Path) -> None:
    """Draw the same crop at every step, with its PSNR."""
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.0), constrained_layout=True)
    nm, truth = sample.wavelengths_nm, sample.reference
    axes[0, 0].imshow(natural(sample.scene, nm, sample.ratio))
    axes[0, 0].set_title(f"scene, {len(nm)} bands, 8 m")
    axes[0, 1].imshow(natural(sample.guide, nm))
    axes[0, 1].set_title("guide, pan, 2 m, displaced 1.3 px down")
    for axis, (name, made) in zip(axes.flat[2:5], products.items(), strict=True):
        axis.imshow(natural(made, nm))
        axis.set_title(f"{name}: {psnr(made, truth):.1f} dB")
    axes[1, 2].imshow(natural(truth, nm))
    axes[1, 2].set_title("truth")
    for axis in axes.flat:
        axis.axis("off")
    figure.savefig(folder / "how_steps.png")


def draw_survey(summary: dict[str, Any], sample: synthetic.Sample, folder: Path) -> None:
    """Draw the relevance and the detail assessment of every band."""
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.0), constrained_layout=True, sharex=True)
    nm = sample.wavelengths_nm
    axes[0].fill_between((450, 800), 0, 100, color="0.92", label="range of the pan image")
    axes[0].plot(nm, 100 * np.array(summary["guide"]["relevance"]), color="C0")
    axes[0].set(title="relevance: share of a band that the guide explains", ylabel="%", ylim=(0, 100))
    axes[0].legend(loc="lower right")
    shares = summary["detail"]["per_band"]
    stack = [100 * np.array(shares[k], float) for k in ("improvement", "hallucination_guide", "hallucination_neither")]
    names = ("improved", "hallucinated, from the guide", "hallucinated, from neither")
    axes[1].stackplot(nm, *stack, labels=names, colors=("C2", "C3", "C1"), alpha=0.8)
    axes[1].set(title="detail, in shares of the true detail", ylabel="%", ylim=(0, 130))
    axes[1].legend(loc="upper right", ncols=3, fontsize=7)
    for axis in axes:
        axis.set_xlabel("wavelength, nm")
    figure.savefig(folder / "how_survey.png")


def draw_uncertainty(product: Array, sigma: Array, sample: synthetic.Sample, folder: Path) -> None:
    """Draw the true error, its estimated standard deviation, and the coverage of intervals."""
    band = int(np.abs(sample.wavelengths_nm - 860).argmin())
    error = np.abs(product - sample.reference)
    covered = 100 * float(np.mean(error <= 1.645 * sigma))
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.1), constrained_layout=True)
    most = float(np.quantile(error[band], 0.99))
    for axis, plane, title in (
        (axes[0], error, "true error, 860 nm"),
        (axes[1], sigma, "estimated standard deviation"),
    ):
        shown = axis.imshow(plane[band][CROP], vmin=0, vmax=most, cmap="magma")
        axis.set_title(title)
        axis.axis("off")
    figure.colorbar(shown, ax=axes[:2], shrink=0.8, label="reflectance")
    widths = np.linspace(0.1, 3, 30)
    coverage = [100 * float(np.mean(error <= k * sigma)) for k in widths]
    axes[2].plot(widths, coverage, color="C0")
    axes[2].plot([1.645], [90], "k+", markersize=12)
    axes[2].set(title=f"{covered:.0f} % within 1.645 (goal: 90 %)", xlabel="standard deviations", ylim=(0, 100))
    axes[2].set_ylabel("% of all values within")
    figure.savefig(folder / "how_sigma.png")


def main(target: str) -> None:
    """Make a scene, sharpen it three ways, draw."""
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"shape": SHAPE, "bands": 62, "guide": "pan", "seed": 4}
    settings |= {"noise": NOISE, "mtf_gain": MTF_GAIN, "shift_px": SHIFT_PX}
    sample = synthetic.make(**settings)
    with tempfile.TemporaryDirectory() as place, mpl.rc_context(INK):
        scene, pan = synthetic.write(place, **settings)
        runs = {
            "bicubic": dualsr_geo.upscale(scene, f"{place}/bicubic.tif", model="bicubic", scale=4),
            "training-free estimate": dualsr_geo.upscale(scene, f"{place}/estimate.tif", rgb=pan, model="regression"),
            "product": dualsr_geo.upscale(scene, f"{place}/product.tif", rgb=pan, uncertainty=True),
        }
        cubes = {name: read(run["output"]) for name, run in runs.items()}
        count = len(sample.wavelengths_nm)
        sigma = cubes["product"][count:]
        cubes["product"] = cubes["product"][:count]
        steps(cubes, sample, folder)
        draw_survey(runs["product"], sample, folder)
        draw_uncertainty(cubes["product"], sigma, sample, folder)
        guide = runs["product"]["guide"]
        print(f"shift {guide['shift_px']} px, true {SHIFT_PX}; {runs['product']['consistency']}"[:200])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
