"""Draw a synthetic scene before and after sharpening: the picture of the README.

Run: python examples/before_after.py docs/images/before_after.png
"""

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio

import dualsr_geo
from dualsr_geo import synthetic

RGB_NM = (650.0, 550.0, 460.0)


def picture(path: Path, nm: np.ndarray) -> np.ndarray:
    """Read a raster as an RGB picture of its middle."""
    with rasterio.open(path) as file:
        bands = [int(np.abs(nm - w).argmin()) + 1 for w in RGB_NM] if file.count > 1 else [1, 1, 1]
        values = file.read(bands) * synthetic.SCALE
    height, width = values.shape[1:]
    middle = values[:, height // 10 : height // 2, width // 3 : width * 4 // 5]
    return np.clip(middle / 0.22, 0, 1).transpose(1, 2, 0) ** 0.7


def main(target: str) -> None:
    """Generate, sharpen, plot."""
    with tempfile.TemporaryDirectory() as folder:
        scene, pan = synthetic.write(folder, shape=(120, 160), guide="pan")
        product = dualsr_geo.upscale(scene, rgb=pan)["output"]
        nm = synthetic.make((8, 8), guide="pan").wavelengths_nm
        shown = {"scene, 8 m, 31 bands": scene, "guide, 2 m, pan": pan, "product, 2 m, 31 bands": product}
        figure, axes = plt.subplots(1, 3, figsize=(13.5, 3.3), constrained_layout=True)
        for axis, (title, path) in zip(axes, shown.items(), strict=True):
            axis.imshow(picture(Path(path), nm), interpolation="nearest")
            axis.set_title(title)
            axis.axis("off")
        figure.savefig(target, dpi=90)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "before_after.png")
