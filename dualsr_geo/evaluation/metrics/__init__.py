"""Quality indices of a product, with a reference (`scores`) and without one (`no_reference`)."""

from __future__ import annotations

from dualsr_geo.evaluation.metrics.no_reference import d_lambda, d_lambda_khan, d_s, d_s_alparone, hqnr, qnr
from dualsr_geo.evaluation.metrics.scores import (
    Scores,
    cc,
    consistency,
    ergas,
    psnr,
    psnr_band_mean,
    q2n,
    rmse,
    sam,
    scc,
    score,
    ssim,
    uqi,
)
from dualsr_geo.raster.source import Readable

__all__ = [
    "Readable",
    "Scores",
    "cc",
    "consistency",
    "d_lambda",
    "d_lambda_khan",
    "d_s",
    "d_s_alparone",
    "ergas",
    "hqnr",
    "psnr",
    "psnr_band_mean",
    "q2n",
    "qnr",
    "rmse",
    "sam",
    "scc",
    "score",
    "ssim",
    "uqi",
]
