"""Q2n against a literal port of the toolbox in slow loops, quaternions, and the classic index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.evaluation.metrics.q2n import block_quality, block_sums, signs


def images(bands, shape=(32, 32), seed=0, noise=40.0):
    random = np.random.default_rng(seed)
    shared = random.normal(0, 100, shape)
    reference = 1000 + shared * random.uniform(0.3, 2, (bands, 1, 1)) + random.normal(0, 50, (bands, *shape))
    return reference + 7 + random.normal(0, noise, reference.shape), reference


def flat(cube):
    return cube.reshape(len(cube), -1)


# ---- the toolbox, literally --------------------------------------------------------------


def star(z):
    return [z[0], *(-v for v in z[1:])]


def onion_mult(one, other):
    """Multiply two lists of numbers or planes as the toolbox's onion_mult does."""
    if len(one) == 1:
        return [one[0] * other[0]]
    half = len(one) // 2
    a, b, c, d = one[:half], star(one[half:]), other[:half], star(other[half:])
    if len(one) == 2:
        return [a[0] * c[0] - d[0] * b[0], a[0] * d[0] + c[0] * b[0]]
    lower = [p - q for p, q in zip(onion_mult(a, c), onion_mult(d, star(b)), strict=True)]
    upper = [p + q for p, q in zip(onion_mult(star(a), d), onion_mult(c, b), strict=True)]
    return lower + upper


def toolbox(estimate, reference):
    """Return Q of a block as onions_quality computes it, inputs not rounded."""
    bands, pixels = len(reference), reference[0].size
    size = 2 ** int(np.ceil(np.log2(bands)))
    zero = [np.zeros(reference[0].shape)] * (size - bands)
    z, w = [*reference, *zero], star([*estimate, *zero])
    for i in range(size):
        mean, deviation = z[i].mean(), z[i].std(ddof=1)
        z[i] = (z[i] - mean) / (deviation or np.finfo(float).eps) + 1
        sign = 1 if i == 0 else -1
        w[i] = sign * ((sign * w[i] - mean) / (deviation or 1) + 1)
    m1, m2 = ([float(p.mean()) for p in z] for z in (z, w))
    mod1, mod2 = (np.sqrt(sum(v**2 for v in m)) for m in (m1, m2))
    unbiased = pixels / (pixels - 1)
    squares = sum((p**2).mean() for p in z) + sum((p**2).mean() for p in w)
    bias = 2 * mod1 * mod2 / (mod1**2 + mod2**2)
    variances = unbiased * squares - unbiased * (mod1**2 + mod2**2)
    product = [unbiased * p.mean() for p in onion_mult(z, w)]
    q = [(p - unbiased * m) * bias * 2 / variances for p, m in zip(product, onion_mult(m1, m2), strict=True)]
    return np.sqrt(sum(v**2 for v in q))


@pytest.mark.parametrize("bands", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("noise", [5.0, 60.0, 400.0])
def test_a_block_is_the_toolbox_block(bands, noise):
    estimate, reference = images(bands, seed=bands, noise=noise)
    quality = block_quality(flat(estimate), flat(reference))
    assert quality == pytest.approx(toolbox(list(estimate), list(reference)), rel=1e-10)


@pytest.mark.parametrize("bands", [3, 4])
def test_blocks_are_averaged_as_the_toolbox_does(bands):
    estimate, reference = images(bands, (64, 96))
    valid = np.ones((64, 96), bool)
    parts = [np.s_[:, y : y + 32, x : x + 32] for y in (0, 32) for x in (0, 32, 64)]
    each = [toolbox(list(estimate[p]), list(reference[p])) for p in parts]
    total, pixels = block_sums(estimate, reference, valid)
    assert pixels == 64 * 96
    assert total / pixels == pytest.approx(np.mean(each), rel=1e-10)


# ---- by hand -----------------------------------------------------------------------------


def hamilton(p, q):
    a, b, c, d = p
    e, f, g, h = q
    return np.array(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ]
    )


def test_four_bands_are_quaternions():
    estimate, reference = images(4, noise=80.0)
    mean, deviation = reference.mean((1, 2))[:, None, None], reference.std((1, 2), ddof=1)[:, None, None]
    z, w = ((c - mean) / deviation + 1 for c in (reference, estimate))
    w_star = w * np.array([1, -1, -1, -1])[:, None, None]
    z_mean, w_mean, w_star_mean = (c.mean((1, 2)) for c in (z, w, w_star))
    covariance = hamilton(z, w_star).mean((1, 2)) - hamilton(z_mean, w_star_mean)
    variances = sum(((c - c.mean((1, 2))[:, None, None]) ** 2).sum(0).mean() for c in (z, w))
    one, two = np.linalg.norm(z_mean), np.linalg.norm(w_mean)
    by_hand = 2 * np.linalg.norm(covariance) / variances * 2 * one * two / (one**2 + two**2)
    assert block_quality(flat(estimate), flat(reference)) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_modulus_of_a_product_is_that_of_its_factors(size):
    random = np.random.default_rng(size)
    z, w = random.normal(size=(2, size))
    product = np.zeros(size)
    for i in range(size):
        for j in range(size):
            product[i ^ j] += signs(size)[i, j] * z[i] * w[j]
    assert np.linalg.norm(product) == pytest.approx(np.linalg.norm(z) * np.linalg.norm(w), rel=1e-12)
    assert product == pytest.approx(np.array(onion_mult(list(z), list(w))), rel=1e-12)


def test_one_band_is_the_classic_index_of_normalised_values():
    estimate, reference = images(1, noise=60.0)
    x, y = estimate[0], reference[0]
    deviation = y.std(ddof=1)
    x, y = (x - y.mean()) / deviation + 1, (y - y.mean()) / deviation + 1
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    classic = 4 * covariance * x.mean() * y.mean() / ((x.var() + y.var()) * (x.mean() ** 2 + y.mean() ** 2))
    assert block_quality(flat(estimate), flat(reference)) == pytest.approx(abs(classic), rel=1e-12)


# ---- properties --------------------------------------------------------------------------


@given(bands=st.integers(1, 20), pixels=st.integers(2, 200), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_quality_is_between_0_and_1(bands, pixels, seed):
    random = np.random.default_rng(seed)
    reference = random.normal(1e4, 3, (bands, pixels))
    estimate = random.normal(1e4, 3, (bands, pixels))
    assert 0 <= block_quality(estimate, reference) <= 1 + 1e-12
    assert block_quality(reference.copy(), reference) == pytest.approx(1, rel=1e-9)


def test_scale_and_offset_of_both_do_not_matter():
    estimate, reference = images(5)
    quality = block_quality(flat(estimate), flat(reference))
    assert block_quality(flat(estimate) * 1e-4 + 3, flat(reference) * 1e-4 + 3) == pytest.approx(quality, rel=1e-7)


# ---- constant bands, holes and edges -----------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_a_constant_band_that_is_equal_costs_nothing(value):
    estimate, reference = images(3)
    estimate[1] = reference[1] = np.float32(value)
    assert block_quality(flat(reference), flat(reference)) == pytest.approx(1)
    # It counts as a padding band: three bands and a constant one are a quaternion, too.
    without = block_quality(flat(np.delete(estimate, 1, 0)), flat(np.delete(reference, 1, 0)))
    assert 0 < without < 1
    assert 0 < block_quality(flat(estimate), flat(reference)) < 1


def test_a_constant_band_with_errors_has_a_bounded_cost():
    estimate, reference = images(8, noise=5.0)
    reference[2] = estimate[2] = 50.0
    equal = block_quality(flat(estimate), flat(reference))
    for error in (1e-2, 1.0, 1e6):
        estimate[2] = 50 + error * np.random.default_rng(0).normal(size=(32, 32))
        quality = block_quality(flat(estimate), flat(reference))
        assert 0.8 < quality < equal
    estimate[2] = 70.0
    assert 0.8 < block_quality(flat(estimate), flat(reference)) < equal


def test_rounding_is_no_variance():
    estimate, reference = images(3)
    estimate[1] = reference[1] = 1e9
    exact = block_quality(flat(estimate), flat(reference))
    rounding = np.random.default_rng(0).choice([-64.0, 0.0, 64.0], (32, 32))  # float32's last digit there
    estimate[1] += rounding
    reference[1] += rounding
    assert block_quality(flat(estimate), flat(reference)) == pytest.approx(exact, rel=1e-9)


def test_all_bands_constant():
    reference = np.full((3, 1024), 5.0)
    assert block_quality(reference.copy(), reference) == pytest.approx(1)
    assert block_quality(reference + 1, reference) < 1


def test_holes_and_odd_edges_are_left_out_of_their_blocks():
    estimate, reference = images(3, (45, 70))
    valid = np.random.default_rng(3).random((45, 70)) > 0.3
    valid[32:, 64:] = False
    estimate[:, ~valid] = np.nan
    total, pixels = block_sums(estimate, reference, valid)
    assert pixels == valid.sum()
    expected = 0.0
    for y in (0, 32):
        for x in (0, 32, 64):
            block_valid = valid[y : y + 32, x : x + 32]
            if block_valid.any():
                e, r = (c[:, y : y + 32, x : x + 32][:, block_valid][:, None, :] for c in (estimate, reference))
                expected += block_valid.sum() * toolbox(list(e), list(r))
    assert total == pytest.approx(expected, rel=1e-10)


def test_one_pixel_has_no_variance():
    estimate, reference = images(2, (33, 33))
    valid = np.zeros((33, 33), bool)
    valid[32, 32] = True
    assert block_sums(estimate, reference, valid) == (0, 0)
