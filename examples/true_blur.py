"""Give the sensor's blur as a file, and compare it with the default blur, without a guide.

Run: python examples/true_blur.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio

import dualsr_geo
from dualsr_geo import synthetic

SHAPE, RATIO, GAIN = (40, 56), 4, 0.12


def main() -> None:
    """Sharpen with both, compare with the truth."""
    settings = {"shape": SHAPE, "ratio": RATIO, "bands": 8, "mtf_gain": GAIN}
    truth = synthetic.make(**settings).reference
    with tempfile.TemporaryDirectory() as folder:
        scene, _ = synthetic.write(folder, **settings)
        true = dualsr_geo.Psf.from_mtf(RATIO, GAIN)
        # The same file serves the command line: dualsr-geo upscale scene.tif --scale 4 --psf psf.json
        where = Path(folder, "psf.json")
        where.write_text(json.dumps(true.to_json()))
        given = dualsr_geo.Psf.from_json(json.loads(where.read_text()))
        for name, psf in (("the usual gain of 0.3", None), (f"the true gain of {GAIN}", given)):
            summary = dualsr_geo.upscale(scene, f"{folder}/product.tif", scale=RATIO, psf=psf, overwrite=True)
            with rasterio.open(summary["output"]) as product:
                error = np.sqrt(np.mean((product.read() * synthetic.SCALE - truth) ** 2))
            print(f"{name}: RMSE {error:.4f} of reflectance")


if __name__ == "__main__":
    main()
