"""Scores against independent oracles, on odd sizes, with holes, and in bounded time and memory."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import sewar
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    spectral_angle_mapper,
    universal_image_quality_index,
)

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.evaluation import metrics
from dualsr_geo.evaluation.metrics import consistency, image_pair, score

LAPLACE = np.where(np.arange(9).reshape(3, 3) == 4, 8.0, -1.0)
FUNCTIONS = {"psnr", "psnr_band_mean", "ssim", "rmse", "cc", "uqi", "q2n", "scc"}


def images(bands=5, shape=(47, 70), *, centre=3000.0, deviation=400.0, noise=60.0, seed=0):
    """Return an estimate and a reference whose bands are alike, as those of a scene are."""
    random = np.random.default_rng(seed)
    layers = ndimage.gaussian_filter(random.normal(size=(3, *shape)), (0, 1.5, 1.5))
    mixed = np.tensordot(random.uniform(0.3, 1, (bands, 3)), layers / layers.std(), 1)
    reference = (centre + deviation * mixed).astype(np.float32)
    return reference + random.normal(0, noise, reference.shape).astype(np.float32), reference


def wide(cube):
    return cube.astype(np.float64)


def batch(cube):
    return torch.from_numpy(wide(cube))[None]


def scc(estimate, reference):
    a, b = (ndimage.correlate(wide(c), LAPLACE)[1:-1, 1:-1].ravel() for c in (estimate, reference))
    return np.corrcoef(a, b)[0, 1]


def same(one, other, rel=1e-9, leave=()):
    """Whether two scores agree, NaN with NaN."""
    a, b = (dataclasses.asdict(s) for s in (one, other))
    bands, others = a.pop("per_band"), b.pop("per_band")
    for name in set(a) - set(leave):
        assert a[name] == pytest.approx(b[name], rel=rel, nan_ok=True), name
    for name in bands:
        assert bands[name] == pytest.approx(others[name], rel=rel, nan_ok=True), name


# ---- oracles -----------------------------------------------------------------------------

CASES = [
    (5, (47, 70), 3000, 400, 60),
    (1, (33, 20), 3000, 400, 60),
    (3, (64, 96), 10000, 3, 1),
    (4, (50, 41), 0.3, 0.05, 0.02),
    (224, (19, 34), 3000, 400, 60),
]


@pytest.mark.parametrize(("bands", "shape", "centre", "deviation", "noise"), CASES)
def test_scores_are_those_of_other_libraries(bands, shape, centre, deviation, noise):
    estimate, reference = images(bands, shape, centre=centre, deviation=deviation, noise=noise)
    scores = score(estimate, reference, ratio=4)
    peak = float(reference.max())
    assert (scores.peak, scores.pixels, scores.ratio) == (peak, math.prod(shape), 4)
    psnr = [
        peak_signal_noise_ratio(wide(t), wide(m), data_range=peak) for m, t in zip(estimate, reference, strict=True)
    ]
    assert scores.per_band["psnr_db"] == pytest.approx(psnr, rel=1e-6)
    assert scores.psnr_band_mean_db == pytest.approx(np.mean(psnr), rel=1e-6)
    assert scores.psnr_db == pytest.approx(
        peak_signal_noise_ratio(wide(reference), wide(estimate), data_range=peak), rel=1e-6
    )
    ssim = [
        structural_similarity(
            wide(t), wide(m), data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for m, t in zip(estimate, reference, strict=True)
    ]
    assert scores.per_band["ssim"] == pytest.approx(ssim, rel=1e-6)
    assert scores.ssim == pytest.approx(np.mean(ssim), rel=1e-6)
    assert scores.uqi == pytest.approx(
        float(universal_image_quality_index(batch(estimate), batch(reference))), rel=1e-6
    )
    ergas = float(error_relative_global_dimensionless_synthesis(batch(estimate), batch(reference), ratio=4))
    assert scores.ergas == pytest.approx(ergas, rel=1e-6)
    last = [np.moveaxis(wide(c), 0, -1) for c in (reference, estimate)]
    assert scores.ergas == pytest.approx(sewar.ergas(*last, r=1 / 4), rel=1e-6)
    cc = [np.corrcoef(wide(m).ravel(), wide(t).ravel())[0, 1] for m, t in zip(estimate, reference, strict=True)]
    assert scores.per_band["cc"] == pytest.approx(cc, rel=1e-6)
    assert scores.per_band["scc"] == pytest.approx(
        [scc(m, t) for m, t in zip(estimate, reference, strict=True)], rel=1e-6
    )
    rmse = np.sqrt(((wide(estimate) - reference) ** 2).mean((1, 2)))
    assert scores.per_band["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert scores.rmse == pytest.approx(np.sqrt((rmse**2).mean()), rel=1e-6)
    if bands > 1:
        assert scores.sam_deg == pytest.approx(np.degrees(sewar.sam(*last)), rel=1e-6)
        assert scores.sam_deg == pytest.approx(
            np.degrees(float(spectral_angle_mapper(batch(estimate), batch(reference)))), rel=1e-6
        )


def test_spectra_of_zeros_have_no_angle():
    estimate, reference = images(3, (20, 20))
    reference[:, :7], estimate[:, 12:] = 0, 0
    last = [np.moveaxis(wide(c[:, 7:12]), 0, -1) for c in (reference, estimate)]
    assert score(estimate, reference, ratio=2).sam_deg == pytest.approx(np.degrees(sewar.sam(*last)), rel=1e-6)


def test_small_functions_are_the_scores():
    estimate, reference = images()
    scores = score(estimate, reference, ratio=3)
    names = {"psnr": "psnr_db", "psnr_band_mean": "psnr_band_mean_db"}
    for name in FUNCTIONS:
        assert getattr(metrics, name)(estimate, reference) == getattr(scores, names.get(name, name)), name
    assert metrics.ergas(estimate, reference, ratio=3) == scores.ergas
    assert metrics.sam(estimate, reference) == scores.sam_deg
    assert consistency(estimate, reference) == (scores.rmse, scores.sam_deg)
    assert (
        metrics.psnr(estimate, reference, peak=1e4)
        == score(estimate, reference, ratio=3, peak=1e4).psnr_db
        != scores.psnr_db
    )
    assert (
        metrics.ssim(estimate, reference, peak=1e4) == score(estimate, reference, ratio=3, peak=1e4).ssim != scores.ssim
    )


def test_identical_images():
    reference = images()[1]
    scores = score(reference, reference.copy(), ratio=4)
    assert (scores.psnr_db, scores.psnr_band_mean_db, scores.rmse, scores.ergas) == (math.inf, math.inf, 0, 0)
    for name in ("ssim", "cc", "uqi", "q2n", "scc"):
        assert getattr(scores, name) == pytest.approx(1, abs=1e-9), name
    assert scores.sam_deg == pytest.approx(0, abs=1e-5)
    scalars = scores.to_json()
    assert scalars["psnr_db"] is None
    assert scalars["rmse"] == 0
    assert "per_band" not in scalars
    json.dumps(scalars, allow_nan=False)


def test_integers_are_scored_by_their_values():
    estimate, reference = (np.rint(c).astype(np.uint16) for c in images())
    same(score(estimate, reference, ratio=4), score(estimate.astype(np.float32), reference.astype(np.float32), ratio=4))


def test_a_small_variance_on_large_values_keeps_its_digits():
    estimate, reference = images(3, (40, 57), centre=0, deviation=3, noise=1)
    estimate, reference = np.rint(wide(estimate) * 4), np.rint(wide(reference) * 4)
    near, far = score(estimate + 200, reference + 200, ratio=4), score(estimate + 60000, reference + 60000, ratio=4)
    for name in ("rmse", "cc", "scc"):
        assert getattr(far, name) == pytest.approx(getattr(near, name), rel=1e-9), name


# ---- tiles and threads -------------------------------------------------------------------


@pytest.mark.parametrize("holes", [False, True])
def test_the_tile_size_does_not_matter(monkeypatch, holes):
    estimate, reference = images(4, (150, 203))
    if holes:
        random = np.random.default_rng(1)
        estimate[random.random(estimate.shape) < 0.01] = np.nan
        reference[:, 60:90, 50:70] = np.nan
        reference[2, :, 120:] = np.nan
    expected = score(estimate, reference, ratio=4)
    for size in (64, 96):
        monkeypatch.setattr(image_pair, "MAX_TILE_PX", size)
        same(score(estimate, reference, ratio=4), expected)


@pytest.mark.parametrize("group", [1, 2**14, 2**30])
def test_the_bands_taken_at_once_do_not_matter(monkeypatch, group):
    estimate, reference = images(7, (40, 31))
    reference[3, 4:9, :7] = np.nan
    expected = score(estimate, reference, ratio=4)
    monkeypatch.setattr("dualsr_geo.evaluation.metrics.sums.GROUP_PIXELS", group)
    same(score(estimate, reference, ratio=4), expected)


def test_threads_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(image_pair, "MAX_TILE_PX", 64)
    estimate, reference = images(6, (150, 203))
    results = [score(estimate, reference, ratio=4, jobs=jobs).to_json() for jobs in (1, 2, 5, None)]
    assert all(t == results[0] for t in results)


def test_a_tile_that_cannot_be_read_raises():
    reference = images(2, (600, 30))[1]

    class Broken:
        shape = reference.shape

        def read(self, window, _bands=None):
            if window.y0 > 500:
                raise InputError("rows 512 to 600 are damaged")
            return reference[:, *window.slices]

    with pytest.raises(InputError, match="512 to 600"):
        score(Broken(), reference, ratio=2)


# ---- holes -------------------------------------------------------------------------------


def test_a_border_without_values_scores_as_if_cut_off():
    estimate, reference = images(4, (70, 90))
    estimate[:, 64:], reference[:, :, 64:] = np.nan, np.nan
    scores, cut = (
        score(estimate, reference, ratio=4),
        score(estimate[:, :64, :64], reference[:, :64, :64], ratio=4, peak=np.nanmax(reference)),
    )
    # Rows 64.. of the reference are valid: they may hold its largest value. Windows reach over the cut.
    same(dataclasses.replace(scores, per_band={}), dataclasses.replace(cut, per_band={}), leave=("ssim", "uqi"))
    for name in ("psnr_db", "rmse", "cc", "scc"):
        assert scores.per_band[name] == pytest.approx(cut.per_band[name], rel=1e-9)
    assert scores.ssim == pytest.approx(cut.ssim, rel=0.02)
    assert scores.pixels == 64 * 64


def test_each_band_has_its_own_mask():
    estimate, reference = images(3, (40, 50))
    random = np.random.default_rng(2)
    for cube in (estimate, reference):
        cube[random.random(cube.shape) < 0.05] = random.choice([np.nan, np.inf, -np.inf])
    valid = np.isfinite(estimate) & np.isfinite(reference)
    scores = score(estimate, reference, ratio=4, peak=5000)
    for band in range(3):
        a, b = (wide(c[band])[valid[band]] for c in (estimate, reference))
        assert scores.per_band["rmse"][band] == pytest.approx(np.sqrt(((a - b) ** 2).mean()), rel=1e-9)
        assert scores.per_band["cc"][band] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-9)
        inner = ndimage.binary_erosion(valid[band], np.ones((3, 3)))[1:-1, 1:-1]
        a, b = (
            ndimage.correlate(np.where(valid[band], wide(c[band]), 0), LAPLACE)[1:-1, 1:-1]
            for c in (estimate, reference)
        )
        assert scores.per_band["scc"][band] == pytest.approx(np.corrcoef(a[inner], b[inner])[0, 1], rel=1e-9)
    complete = valid.all(0)
    a, b = (wide(c[:, complete]) for c in (estimate, reference))
    assert scores.pixels == complete.sum()
    angle = np.degrees(np.arccos((a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)))
    assert scores.sam_deg == pytest.approx(angle.mean(), rel=1e-6)
    difference = (wide(estimate) - reference)[valid]
    assert scores.rmse == pytest.approx(np.sqrt((difference**2).mean()), rel=1e-9)


def test_a_band_without_values_is_left_out():
    estimate, reference = images(6)
    without = [np.delete(c, (1, 4), 0) for c in (estimate, reference)]
    estimate[1], reference[4] = np.nan, np.nan
    scores, remaining = score(estimate, reference, ratio=4), score(*without, ratio=4)
    assert scores.to_json() == remaining.to_json()
    for name, values in scores.per_band.items():
        assert values.shape == (6,)
        assert np.isnan(values[[1, 4]]).all()
        assert values[[0, 2, 3, 5]] == pytest.approx(remaining.per_band[name])


def test_bands_that_share_no_pixel_are_scored_one_by_one():
    estimate, reference = images(2, (40, 44))
    reference[0, :20], reference[1, 20:] = np.nan, np.nan
    scores = score(estimate, reference, ratio=4)
    assert scores.pixels == 0
    assert math.isnan(scores.sam_deg)
    assert math.isnan(scores.q2n)
    assert np.isfinite(scores.per_band["rmse"]).all()
    assert scores.to_json()["q2n"] is None


def test_a_constant_band_has_no_correlation():
    estimate, reference = images(3)
    estimate[1] = reference[1] = 1234.5
    scores = score(estimate, reference, ratio=4)
    assert np.isnan(scores.per_band["cc"]).tolist() == [False, True, False]
    assert np.isnan(scores.per_band["scc"]).tolist() == [False, True, False]
    assert scores.cc == pytest.approx(scores.per_band["cc"][[0, 2]].mean())
    assert scores.per_band["ssim"][1] == scores.per_band["uqi"][1] == pytest.approx(1)
    assert scores.per_band["psnr_db"][1] == math.inf
    assert 0 < scores.q2n < 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (10, 60), (60, 10), (3, 3)])
def test_images_smaller_than_a_window(shape):
    estimate, reference = images(2, shape, noise=5)
    scores = score(estimate, reference, ratio=4)
    assert math.isnan(scores.ssim)
    assert math.isnan(scores.uqi)
    assert scores.rmse == pytest.approx(np.sqrt(((wide(estimate) - reference) ** 2).mean()), rel=1e-9)
    assert scores.to_json()["ssim"] is None


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 45), st.integers(1, 45)),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_scores_stay_in_their_ranges(shape, share, seed):
    estimate, reference = images(shape[0], shape[1:], seed=seed)
    random = np.random.default_rng(seed)
    estimate[random.random(shape) < share] = np.nan
    estimate[0, 0, 0] = reference[0, 0, 0]
    # A reference without a positive value has no data range.
    scores = score(estimate, reference, ratio=2, peak=float(np.ptp(reference)) + 1)
    assert 0 <= scores.pixels <= shape[1] * shape[2]
    assert scores.rmse >= 0
    for name in ("ssim", "cc", "uqi", "scc"):
        value = getattr(scores, name)
        assert math.isnan(value) or -1 - 1e-9 <= value <= 1 + 1e-9, name
    assert math.isnan(scores.q2n) or 0 <= scores.q2n <= 1 + 1e-9
    assert math.isnan(scores.sam_deg) or 0 <= scores.sam_deg <= 180


# ---- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio is 0.*ratio=4"),
        ({"ratio": 4, "peak": -2.5}, r"peak is -2\.5.*positive"),
        ({"ratio": 4, "peak": math.nan}, "peak is nan"),
        ({"ratio": 4, "jobs": 0}, "jobs is 0.*jobs=1"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        score(*images(2, (20, 20)), **options)


def test_a_reference_without_a_positive_value_needs_a_peak():
    estimate, reference = images(2, (20, 20))
    lower = reference.max() + 12
    with pytest.raises(InputError, match=r"largest value of the reference is -12, .*Give peak"):
        score(estimate - lower, reference - lower, ratio=2)
    assert score(estimate - lower, reference - lower, ratio=2, peak=1000).psnr_db > 0


# ---- cost --------------------------------------------------------------------------------

COST = """
import json, sys, time
import numpy as np
from dualsr_geo import resources
from dualsr_geo.evaluation import metrics

class Raster:
    shape = (128, 500, 500)
    def __init__(self, noise):
        self.noise = np.random.default_rng(0).normal(0, noise, (600, 600)).astype(np.float32) if noise else None
        self.base = np.random.default_rng(1).normal(3000, 300, (600, 600)).astype(np.float32)
    def read(self, window, bands=None):
        rows, columns = window.slices
        weights = np.linspace(0.5, 1, 128, dtype=np.float32)[:, None, None]
        values = self.base[rows, columns] * weights
        return values if self.noise is None else values + self.noise[rows, columns]

start = time.process_time()
scores = metrics.score(Raster(50), Raster(0), ratio=4, jobs=2)
print(json.dumps([time.process_time() - start, resources.peak(), scores.rmse]))
"""


@pytest.mark.slow
def test_time_and_memory_of_a_large_pair():
    # 128 x 2000 x 2000 in 60 s on two cores is 7.5 s of CPU for a sixteenth of it, and in 1.5 GB. It takes 2.5 to 4 s
    # on idle cores; neighbours that share caches and hyperthreads made it 9, so twice the bound is what fails here.
    done = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, check=True, timeout=300)
    seconds, peak, rmse = json.loads(done.stdout)
    assert rmse == pytest.approx(50, rel=0.02)
    assert seconds < 15
    assert peak < 1.0e9
