"""Made-up data of reports."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.data import Crop, ReportData, Shift

RATIO = 3
# VNIR, a water vapour gap, SWIR.
NM = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 1600.0, 1650.0)
EVIL = """<script>alert(1)</script> "it's" & </script> \u05e9\u05dc\u05d5\u05dd \u96ea"""


def crop(name="A", shape=(8, 13), seed=0, count=8):
    rng = np.random.default_rng(seed)
    scene = (rng.random((count, *shape)) * 0.4 + np.arange(count)[:, None, None]).astype(np.float32)
    reference = scene.repeat(RATIO, 1).repeat(RATIO, 2) + rng.normal(0, 0.05, (count, *(n * RATIO for n in shape)))
    product = reference + rng.normal(0, 0.02, reference.shape)
    product[2, 4, 5] = np.nan
    scene[:, 0, 0] = product[:, :RATIO, :RATIO] = np.nan
    guide = rng.random((1, *reference.shape[1:]))
    consistency = np.abs(scene[0] - scene[0].mean())
    where = f"rows 0 to {reference.shape[1]}, columns 0 to {reference.shape[2]} of the product"
    return Crop(name, where, RATIO, scene, *(a.astype(np.float32) for a in (product, reference, guide, consistency)))


def report_data(**changes):
    rng = np.random.default_rng(9)
    data = ReportData(
        title="A scene",
        facts={"Ratio": "3", "Model": "regression"},
        bands=tuple(Band(f"b{i}", w) for i, w in enumerate(NM)),
        unit="reflectance",
        overview=rng.random((3, 20, 31), np.float32),
        crops=(crop("A"), crop("B", (5, 7), 1)),
        scores={
            "ours": {"psnr_db": 41.25, "sam_deg": 1.5, "seconds": 9.0, "pixels": 936},
            "theirs": {"psnr_db": 39.5, "sam_deg": 1.25, "seconds": None, "pixels": 936},
        },
        per_band={m: {"psnr_db": rng.random(8) + 40, "ssim": rng.random(8)} for m in ("ours", "theirs")},
        model="ours",
        relevance=np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, np.nan, 0.125], np.float32),
        shifts=(Shift(0.25, 0.5, 1.5, -2.0), Shift(0.75, 0.5, 0.0, 0.0)),
        shifts_note="Measured in 2 of 4 blocks.",
        tile_rmse=np.array([[0.25, np.nan, 0.5]]),
        provenance={"software": "dualsr-geo", "survey": {"psf": [1.5, 1.25]}},
        notes=("The guide is displaced by 2.5 px.",),
        detail={"improvement": np.linspace(0.5, 0.8625, 8), "contradicted": np.array([0.0625, *[np.nan] * 7])},
    )
    return replace(data, **changes)


def read_image(figure):
    """Decode the image of a figure, (y, x, 4)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(figure.src.split(",")[1]))))
