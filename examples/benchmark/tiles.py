"""Processor time of web tiles from a stored survey, and how many of their values are those of the product on disk.

    python examples/benchmark/tiles.py SCENE GUIDE MODEL

Needs rio-tiler. The figures are in docs/howto/on-the-fly.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rasterio.warp import transform_bounds
from rio_tiler.io import Reader

import dualsr_geo
from dualsr_geo.web_tiles import DualSRReader

REPEATS = 3


def main(scene: str, guide: str, model: str) -> None:
    """Print a line for every zoom: the time of a tile in the middle, and the share of values that differ."""
    with TemporaryDirectory() as folder:
        product, survey = Path(folder) / "product.tif", Path(folder) / "survey.json"
        dualsr_geo.upscale(scene, product, guide=guide, model=model, format="GTiff")
        dualsr_geo.survey(scene, survey, guide=guide, model=model)
        reader = DualSRReader(scene, survey=survey, guide=guide)
        left, bottom, right, top = transform_bounds(reader.crs, "EPSG:4326", *reader.bounds)
        for zoom in range(reader.maxzoom + 1, reader.minzoom - 1, -1):
            tile = reader.tms.tile((left + right) / 2, (bottom + top) / 2, zoom)
            seconds = []
            for _ in range(REPEATS):
                start = time.process_time()
                image = DualSRReader(scene, survey=survey, guide=guide).tile(*tile)
                seconds.append(time.process_time() - start)
            with Reader(str(product)) as on_disk:
                expected = on_disk.tile(*tile).array
            share = float((image.array.filled(0) != np.ma.filled(expected, 0)).mean())
            print(f"zoom {zoom}: {min(seconds):.3f} s, {share:.2g} of the values differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
