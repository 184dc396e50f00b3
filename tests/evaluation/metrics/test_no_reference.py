"""Quality without a reference against torchmetrics, numpy's regression and the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics.functional.image import spatial_distortion_index, spectral_distortion_index

from dualsr_geo.errors import InputError
from dualsr_geo.evaluation import metrics
from dualsr_geo.evaluation.metrics import no_reference


def scene(bands=4, shape=(24, 31), ratio=2, seed=0):
    """Return product, scene, guide and degraded guide."""
    random = np.random.default_rng(seed)
    rows, columns = (n * ratio for n in shape)
    layers = ndimage.gaussian_filter(random.normal(size=(3, rows, columns)), (0, 2, 2))
    layers /= layers.std()
    truth = 0.4 + 0.05 * np.tensordot(random.uniform(-0.2, 1, (bands, 3)), layers, 1)
    guide = truth.mean(0, keepdims=True) + random.normal(0, 0.004, (1, rows, columns))
    product = truth + random.normal(0, 0.01, truth.shape)

    def smaller(cube):
        return cube.reshape(len(cube), shape[0], ratio, shape[1], ratio).mean((2, 4))

    return product, smaller(truth), guide, smaller(guide)


def batch(cube):
    return torch.from_numpy(np.ascontiguousarray(cube))[None]


def test_alparones_indices_are_those_of_torchmetrics():
    product, low, guide, guide_low = scene()
    # torchmetrics collects UQI in float32, and wants the guide once a band.
    expected = float(spectral_distortion_index(batch(low), batch(product)))
    assert no_reference.d_lambda(product, low) == pytest.approx(expected, rel=1e-5)
    repeated = [batch(np.repeat(g, 4, 0)) for g in (guide, guide_low)]
    spatial = float(spatial_distortion_index(batch(product), batch(low), *repeated))
    assert no_reference.d_s_alparone(product, low, guide, guide_low) == pytest.approx(spatial, rel=1e-5)
    assert no_reference.qnr(product, low, guide, guide_low) == pytest.approx((1 - expected) * (1 - spatial), rel=1e-6)
    # A guide of several bands: their mean.
    doubled = [np.concatenate([g, g]) for g in (guide, guide_low)]
    assert no_reference.d_s_alparone(product, low, *doubled) == pytest.approx(spatial, rel=1e-5)


def test_khan_and_hqnr():
    product, low, guide, _ = scene()
    degraded = low + np.random.default_rng(1).normal(0, 0.01, low.shape)
    found = no_reference.d_lambda_khan(degraded, low)
    assert found == 1 - metrics.q2n(degraded, low)
    assert 0 < found < 1
    assert no_reference.d_lambda_khan(low, low) == pytest.approx(0, abs=1e-9)
    spatial = no_reference.d_s(product, guide)
    assert no_reference.hqnr(found, spatial) == pytest.approx((1 - found) * (1 - spatial))


def regression(product, guide):
    """Return 1 - R^2 by numpy's least squares."""
    known = np.isfinite(product).all(0) & np.isfinite(guide).all(0)
    a = np.concatenate([product[:, known], np.ones((1, known.sum()))]).T
    left = []
    for band in guide[:, known]:
        rest = band - a @ np.linalg.lstsq(a, band)[0]
        left.append((rest @ rest) / ((band - band.mean()) ** 2).sum())
    return np.mean(left)


@pytest.mark.parametrize("bands", [1, 4, 40])
def test_the_regression_is_numpys(bands):
    product, _, guide, _ = scene(bands)
    guides = np.concatenate([guide, product[:1] * 2 + ndimage.gaussian_filter(guide, (0, 1, 1))])
    assert no_reference.d_s(product, guides) == pytest.approx(regression(product, guides), rel=1e-6)
    product[:, 3:9, 5:20], guides[1, 30:] = np.nan, np.nan
    assert no_reference.d_s(product, guides) == pytest.approx(regression(product, guides), rel=1e-6)
    assert no_reference.d_s(product + 1e4, guides * 3 - 7) == pytest.approx(regression(product, guides), rel=1e-6)


def test_a_guide_made_of_the_bands_is_explained_whatever_else_is_there():
    product, _, _, _ = scene(5)
    guide = product[:2] * 3 + product[2:4] + 5
    assert no_reference.d_s(product, guide) == pytest.approx(0, abs=1e-9)
    # A band twice, one constant, one without values: the regression is as it was.
    more = np.concatenate([product, product[:1], np.full_like(product[:1], 7), np.full_like(product[:1], np.nan)])
    assert no_reference.d_s(more, guide) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(3).normal(size=guide.shape)
    assert no_reference.d_s(more, noise) == pytest.approx(regression(product, noise), rel=1e-6)
    assert no_reference.d_s(product, noise) > 0.99
    constant = np.concatenate([noise[:1], np.ones_like(noise[:1])])
    assert no_reference.d_s(product, constant) == pytest.approx(no_reference.d_s(product, noise[:1]))
    assert np.isnan(no_reference.d_s(product, constant[1:]))


def test_pieces_of_pixels_do_not_matter(monkeypatch):
    product, _, guide, _ = scene()
    whole = no_reference.d_s(product, guide)
    monkeypatch.setattr(no_reference, "PIXELS_AT_ONCE", 101)
    assert no_reference.d_s(product, guide) == pytest.approx(whole, rel=1e-12)


def test_nothing_changed_is_no_distortion():
    _, low, _, guide_low = scene()
    assert no_reference.d_lambda(low, low) == 0
    assert no_reference.d_s_alparone(low, low, guide_low, guide_low) == 0
    assert no_reference.qnr(low, low, guide_low, guide_low) == 1
    assert no_reference.d_lambda(low[:1], low[:1]) == 0


def test_bands_in_units_of_their_own_are_compared():
    product, low, guide, guide_low = scene()
    expected = no_reference.d_s_alparone(product * 1e-3, low * 1e-3, guide, guide_low)
    assert 0 <= expected <= 1


def test_of_many_bands_a_sample_of_pairs(monkeypatch):
    product, low, _, _ = scene(33, (8, 8))
    first, second = no_reference._pairs(33)
    assert len(first) == 496
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 496
    assert (first < second).all()
    assert len(no_reference._pairs(32)[0]) == 32 * 31 // 2
    monkeypatch.setattr(no_reference, "MAX_PAIRS", 5)
    product, low, _, _ = scene(12)
    assert no_reference.d_lambda(product, low) == no_reference.d_lambda(product, low)
    monkeypatch.setattr(no_reference, "MAX_PAIRS", 66)
    everything = no_reference.d_lambda(product, low)
    monkeypatch.setattr(no_reference, "MAX_PAIRS", 40)
    assert no_reference.d_lambda(product, low) == pytest.approx(everything, rel=0.3)


@pytest.mark.parametrize(
    ("name", "taken", "said"),
    [
        ("d_lambda", ("three", "low"), "product has 3 bands, the scene 4"),
        ("d_s", ("product", "guide_low"), "48 x 62.*guide 24 x 31"),
        ("d_s_alparone", ("product", "low", "guide_low", "guide"), "48 x 62.*guide 24 x 31"),
        ("d_s_alparone", ("product", "low", "guide", "guide"), "24 x 31.*degraded guide 48 x 62"),
        ("d_s", ("product", "nothing"), "No pixel is valid"),
    ],
)
def test_what_does_not_match(name, taken, said):
    cubes = dict(zip(("product", "low", "guide", "guide_low"), scene(), strict=True))
    cubes |= {"three": cubes["product"][:3], "nothing": cubes["guide"] * np.nan}
    with pytest.raises(InputError, match=said):
        getattr(no_reference, name)(*(cubes[t] for t in taken))
