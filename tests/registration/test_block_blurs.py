"""Blocks agree on clean pairs; where they do not, their narrow widths are near the sensor's blur."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import subspace
from dualsr_geo.registration import blur_estimation
from dualsr_geo.registration.block_blurs import MIN_BLOCKS, MIN_SPREAD_LR, estimate_block_blurs
from dualsr_geo.registration.guide_regression import RegressionBlock

RATIO = 4
SHAPE = (61, 67)
TRUE_PX = Psf.from_mtf(RATIO).sigma_px[0]


def block(scene: np.ndarray, guide: np.ndarray) -> RegressionBlock:
    flat = scene.reshape(len(scene), -1)
    space = subspace.estimate_subspace(flat, np.ones(flat.shape[1], np.float32))
    z = space.components(flat)[: blur_estimation.COMPONENT_COUNT].reshape(-1, *scene.shape[1:])
    centred = guide - guide.mean((1, 2), keepdims=True)
    return RegressionBlock(z.astype(float), centred.astype(float), np.ones(scene.shape[1:]))


def displaced(guide: np.ndarray, rms_px: float, scale_px: float) -> np.ndarray:
    """Displace a guide at random, smoothly over `scale_px`."""
    rng = np.random.default_rng(5)
    fields = [gaussian_filter(rng.standard_normal(guide.shape[1:]), scale_px) for _ in range(2)]
    y, x = np.mgrid[: guide.shape[1], : guide.shape[2]].astype(float)
    dy, dx = (f / f.std() * rms_px for f in fields)
    return np.stack([map_coordinates(band, [y + dy, x + dx], order=3, mode="mirror") for band in guide])


def estimates(guide_of, **options):
    """Return the estimate of the whole scene, and the one that is narrowed where blocks disagree."""
    sample = synthetic.make(SHAPE, seed=2, **options)
    blocks = [block(sample.scene, guide_of(sample.guide))]
    whole = blur_estimation.estimate_blur(blocks, RATIO)
    return whole, blur_estimation.narrow_estimate(whole, blocks)


@pytest.mark.parametrize("guide", ["rgb", "pan"])
def test_a_clean_pair_keeps_its_estimate(guide):
    whole, narrow = estimates(lambda g: g, guide=guide)
    assert narrow == whole
    assert narrow.spread is None
    assert narrow.psf.sigma_px == pytest.approx((TRUE_PX, TRUE_PX), rel=0.005)


def test_blocks_of_a_clean_pair_agree():
    sample = synthetic.make(SHAPE, seed=2)
    part = blur_estimation.leading_direction([block(sample.scene, sample.guide)])
    blurs = estimate_block_blurs(part, RATIO, (0.0, 0.0))
    assert blurs.enough
    assert len(blurs.sigma_px) >= MIN_BLOCKS
    assert not blurs.differ
    assert max(blurs.spread.sigma_px) < MIN_SPREAD_LR * RATIO
    assert blurs.narrow.sigma_px == pytest.approx((TRUE_PX, TRUE_PX), rel=0.01)


@pytest.mark.parametrize(("rms_px", "scale_px"), [(1.0, 12.0), (1.5, 40.0)])
def test_a_local_displacement_hardly_widens_the_blur(rms_px, scale_px):
    whole, narrow = estimates(lambda g: displaced(g, rms_px, scale_px))
    assert max(whole.psf.sigma_px) > 1.05 * TRUE_PX
    assert narrow.spread is not None
    assert narrow.whole_sigma_px == whole.psf.sigma_px
    # Too wide rings, so by 0.05 lr px at most; too narrow is harmless.
    assert max(narrow.psf.sigma_px) < TRUE_PX + 0.05 * RATIO
    assert min(narrow.psf.sigma_px) > TRUE_PX - 0.12 * RATIO
    assert narrow.spread.shift_px > (0.1, 0.1)


def test_noise_of_the_guide_does_not_widen_the_blur():
    noise = np.random.default_rng(0).standard_normal((3, SHAPE[0] * RATIO, SHAPE[1] * RATIO))
    _, narrow = estimates(lambda g: g + 0.01 * np.ptp(g) * noise)
    assert narrow.psf.sigma_px == pytest.approx((TRUE_PX, TRUE_PX), rel=0.02)


def test_colours_at_half_the_resolution_do_not_widen_the_blur():
    """As JPEG stores them: brightness whole, differences of colour averaged over 2 x 2 pixels."""

    def jpeg(guide):
        grey = guide.mean(0)
        colour = (guide - grey)[:, : SHAPE[0] * RATIO, : SHAPE[1] * RATIO]
        small = colour.reshape(3, SHAPE[0] * 2, 2, SHAPE[1] * 2, 2).mean((2, 4))
        return grey + small.repeat(2, 1).repeat(2, 2)

    whole, _ = estimates(jpeg)
    assert whole.psf.sigma_px == pytest.approx((TRUE_PX, TRUE_PX), rel=0.02)


def test_a_small_scene_is_narrowed_by_its_error():
    sample = synthetic.make((24, 26), seed=2)
    blocks = [block(sample.scene, displaced(sample.guide, 1.5, 12.0))]
    whole = blur_estimation.estimate_blur(blocks, RATIO)
    narrow = blur_estimation.narrow_estimate(whole, blocks)
    narrowed = [a - b for a, b in zip(whole.psf.sigma_px, narrow.psf.sigma_px, strict=True)]
    wanted = [
        min(blur_estimation.NARROWING_ERRORS * e, s / 2) if e > MIN_SPREAD_LR * RATIO else 0.0
        for e, s in zip(whole.sigma_error_px, whole.psf.sigma_px, strict=True)
    ]
    assert narrowed == pytest.approx(wanted, abs=0.02)
    assert max(narrowed) > 0.02


def test_a_shift_of_the_blocks_has_their_error_not_that_of_a_flat_fit():
    sample = synthetic.make(SHAPE, seed=2)
    blocks = [block(sample.scene, displaced(sample.guide, 1.0, 12.0))]
    whole = blur_estimation.estimate_blur(blocks, RATIO)
    flat = dataclasses.replace(whole, shift_error_px=(0.1, 383.0), shift_reliable=False)
    narrow = blur_estimation.narrow_estimate(flat, blocks)
    assert narrow.spread is not None
    assert 0 < max(narrow.shift_error_px) < blur_estimation.MAX_SHIFT_ERROR_PX
    assert narrow.shift_reliable
