"""Blur and shift of synthetic pairs are estimated; where they cannot be, the estimate is not reliable."""

from __future__ import annotations

import numpy as np
import pytest

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import subspace
from dualsr_geo.registration import blur_estimation
from dualsr_geo.registration.guide_regression import RegressionBlock
from dualsr_geo.registration.psf_taps import MIN_TAP_SHARE

RATIO = 4


def piece(scene: np.ndarray, guide: np.ndarray, weight: np.ndarray | None = None) -> RegressionBlock:
    flat = scene.reshape(len(scene), -1)
    space = subspace.estimate_subspace(flat, np.ones(flat.shape[1], np.float32))
    z = space.components(flat)[: blur_estimation.COMPONENT_COUNT].reshape(-1, *scene.shape[1:])
    guide = guide - guide.mean((1, 2), keepdims=True)
    return RegressionBlock(z.astype(float), guide.astype(float), np.ones(scene.shape[1:]) if weight is None else weight)


def pair(blur: Psf, shape: tuple[int, int] = (45, 58), **options) -> RegressionBlock:
    """Degrade a made-up ground by any PSF."""
    sample = synthetic.make(shape, ratio=blur.ratio, seed=2, **options)
    lr = synthetic.degrade(sample.abundances, blur, shape)
    return piece(np.einsum("mb,myx->byx", sample.spectra, lr), sample.guide)


@pytest.mark.parametrize("guide", ["rgb", "pan"])
@pytest.mark.parametrize(
    ("shift", "sigma"), [((0.5, -1.3), (1.9, 1.9)), ((0.0, 0.0), (2.4, 1.5)), ((-2.2, 3.1), (1.4, 2.0))]
)
def test_shift_and_widths_are_found(shift, sigma, guide):
    found = blur_estimation.estimate_blur([pair(Psf.gaussian(RATIO, sigma, shift), guide=guide)], RATIO)
    assert found.psf.shift_px == pytest.approx(shift, abs=0.05)
    assert found.psf.sigma_px == pytest.approx(sigma, rel=0.02)
    assert found.shift_px == found.psf.shift_px
    assert found.shift_reliable
    assert found.width_reliable
    assert found.kind == "gaussian"
    assert found.unexplained < 0.02


@pytest.mark.parametrize("ratio", [2, 3, 8])
def test_other_ratios(ratio):
    shift, gain = (0.3 * ratio, -0.2 * ratio), 0.25
    wide = Psf.from_mtf(ratio, gain).sigma_px
    found = blur_estimation.estimate_blur([pair(Psf.gaussian(ratio, wide, shift))], ratio)
    assert found.psf.shift_px == pytest.approx(shift, abs=0.05)
    assert found.psf.sigma_px == pytest.approx(wide, rel=0.02)


def test_phase_correlation_agrees_to_a_quarter_of_a_lr_pixel():
    found = blur_estimation.estimate_blur([pair(Psf.gaussian(RATIO, (1.9, 1.9), (2.5, -3.0)))], RATIO)
    assert found.check_px == pytest.approx((2.5, -3.0), abs=0.25 * RATIO)


@pytest.mark.parametrize("guide", ["rgb", "pan"])
@pytest.mark.parametrize("shift", [(5.2, -3.4), (7.5, 0.5), (-6.0, 7.0)])
def test_a_shift_beyond_a_lr_pixel_is_found(shift, guide):
    found = blur_estimation.estimate_blur([pair(Psf.gaussian(RATIO, (1.9, 1.9), shift), guide=guide)], RATIO)
    assert found.psf.shift_px == pytest.approx(shift, abs=0.1)
    assert found.shift_reliable


@pytest.mark.parametrize("turn", [(1, -1), (-1, 1), (-1, -1)])
def test_a_guide_of_another_area_is_not_reliable(turn):
    there = pair(Psf.gaussian(RATIO, (1.9, 1.9)))
    turned = RegressionBlock(there.components, there.guide[:, :: turn[0], :: turn[1]], there.weight)
    assert not blur_estimation.estimate_blur([turned], RATIO).shift_reliable


def test_the_samples_own_shift_has_the_sign_that_is_promised():
    sample = synthetic.make((40, 51), shift_px=(1.5, -0.5))
    found = blur_estimation.estimate_blur([piece(sample.scene, sample.guide)], RATIO)
    assert found.shift_px == pytest.approx((1.5, -0.5), abs=0.05)


def test_noise_does_not_mislead():
    sample = synthetic.make((45, 58), seed=3, noise=0.005, shift_px=(0.5, -1.3))
    found = blur_estimation.estimate_blur([piece(sample.scene, sample.guide)], RATIO)
    assert found.shift_px == pytest.approx((0.5, -1.3), abs=0.1)
    assert found.psf.sigma_px == pytest.approx(Psf.from_mtf(RATIO).sigma_px, rel=0.03)


def test_taps_of_a_one_sided_psf_are_found():
    """A Gaussian cut 1 px after its centre, as SFPN's: no Gaussian fits it."""
    at = np.arange(-5, 4)
    taps = np.exp(-0.5 * ((at - 2.0) / 2.6) ** 2)
    taps = tuple((taps / taps.sum()).tolist())
    blur = Psf(RATIO, taps, taps, -5, -5)
    found = blur_estimation.estimate_blur([pair(blur, (64, 70))], RATIO)
    assert found.kind == "taps"
    assert found.psf.shift_px == pytest.approx(blur.shift_px, abs=0.05)
    # What counts is what the operators do to an image.
    image = synthetic.make((30, 31), seed=9).guide[0].astype(float)
    made, wanted, plain = (degraded(image, p) for p in (found.psf, blur, gaussian_like(blur)))
    assert np.std(made - wanted) < 0.5 * np.std(plain - wanted)


def degraded(image: np.ndarray, blur: Psf) -> np.ndarray:
    dy = blur_matrix(blur.taps_y, blur.start_y, blur.ratio, 30, 0, 30)
    dx = blur_matrix(blur.taps_x, blur.start_x, blur.ratio, 31, 0, 31)
    return (dy @ image @ dx.T)[3:-3, 3:-3]


def gaussian_like(blur: Psf) -> Psf:
    return Psf.gaussian(blur.ratio, blur.sigma_px, blur.shift_px)


def test_taps_look_like_optics():
    found = blur_estimation.estimate_blur([pair(Psf.gaussian(RATIO, (1.2, 2.8), (0.4, 0.1)))], RATIO)
    for taps in (found.psf.taps_y, found.psf.taps_x):
        assert sum(taps) == pytest.approx(1)
        assert min(taps) > MIN_TAP_SHARE * max(taps)


def test_pixels_without_weight_do_not_count():
    good = pair(Psf.gaussian(RATIO, (1.9, 1.9), (0.5, -1.3)))
    weight = good.weight.copy()
    weight[10:20, 30:45] = 0
    spoilt = good.components.copy()
    spoilt[:, 10:20, 30:45] = 50
    found = blur_estimation.estimate_blur([RegressionBlock(spoilt, good.guide, weight)], RATIO)
    assert found.shift_px == pytest.approx((0.5, -1.3), abs=0.05)


def test_several_blocks_are_as_good_as_one():
    blur = Psf.gaussian(RATIO, (1.9, 1.9), (0.5, -1.3))
    whole = pair(blur)
    halves = [
        RegressionBlock(
            whole.components[..., cut], whole.guide[..., cut.start * 4 : cut.stop * 4], whole.weight[..., cut]
        )
        for cut in (slice(0, 29), slice(29, 58))
    ]
    found = blur_estimation.estimate_blur(halves, RATIO)
    assert found.shift_px == pytest.approx((0.5, -1.3), abs=0.05)
    assert found.psf.sigma_px == pytest.approx((1.9, 1.9), rel=0.02)


@pytest.mark.parametrize("shape", [(11, 40), (7, 8), (12, 11)])
def test_a_tiny_scene_says_nothing(shape):
    small = RegressionBlock(np.ones((3, *shape)), np.ones((1, 4 * shape[0], 4 * shape[1])), np.ones(shape))
    assert blur_estimation.estimate_blur([small], RATIO) is None


def test_a_flat_guide_is_not_trusted():
    flat = piece(synthetic.make((30, 35)).scene, np.zeros((1, 120, 140)))
    found = blur_estimation.estimate_blur([flat], RATIO)
    assert not found.shift_reliable


def test_a_guide_of_another_place_is_not_trusted():
    scene, other = synthetic.make((40, 44), seed=1).scene, synthetic.make((40, 44), seed=8).guide
    found = blur_estimation.estimate_blur([piece(scene, other)], RATIO)
    assert found.unexplained > 0.5
    assert not found.shift_reliable


def test_stripes_tell_nothing_along_themselves():
    """Content that changes in x only leaves the shift in y unknown."""
    x = np.cumsum(np.random.default_rng(0).standard_normal(200))[None, None] * np.ones((1, 160, 1))
    blur = Psf.from_mtf(4)
    dx = blur_matrix(blur.taps_x, blur.start_x, 4, 50, 0, 50)
    scene = np.repeat((x @ dx.T)[:, ::4], 3, 0).astype(np.float32)
    assert not blur_estimation.estimate_blur([piece(scene, x)], RATIO).shift_reliable
