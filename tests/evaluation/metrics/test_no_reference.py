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

    def degraded(cube):
        return cube.reshape(len(cube), shape[0], ratio, shape[1], ratio).mean((2, 4))

    return product, degraded(truth), guide, degraded(guide)


def batch(cube):
    return torch.from_numpy(np.ascontiguousarray(cube))[None]


def test_alparones_indices_are_those_of_torchmetrics():
    product, lr, guide, guide_lr = scene()
    # torchmetrics accumulates UQI in float32, and needs the guide once a band.
    expected = float(spectral_distortion_index(batch(lr), batch(product)))
    assert no_reference.d_lambda(product, lr) == pytest.approx(expected, rel=1e-5)
    repeated = [batch(np.repeat(g, 4, 0)) for g in (guide, guide_lr)]
    spatial = float(spatial_distortion_index(batch(product), batch(lr), *repeated))
    assert no_reference.d_s_alparone(product, lr, guide, guide_lr) == pytest.approx(spatial, rel=1e-5)
    assert no_reference.qnr(product, lr, guide, guide_lr) == pytest.approx((1 - expected) * (1 - spatial), rel=1e-6)
    # A guide of several bands: their mean.
    doubled = [np.concatenate([g, g]) for g in (guide, guide_lr)]
    assert no_reference.d_s_alparone(product, lr, *doubled) == pytest.approx(spatial, rel=1e-5)


def test_khan_and_hqnr():
    product, lr, guide, _ = scene()
    noisy = lr + np.random.default_rng(1).normal(0, 0.01, lr.shape)
    distortion = no_reference.d_lambda_khan(noisy, lr)
    assert distortion == 1 - metrics.q2n(noisy, lr)
    assert 0 < distortion < 1
    assert no_reference.d_lambda_khan(lr, lr) == pytest.approx(0, abs=1e-9)
    spatial = no_reference.d_s(product, guide)
    assert no_reference.hqnr(distortion, spatial) == pytest.approx((1 - distortion) * (1 - spatial))


def regression(product, guide):
    """Return 1 - R^2 by numpy's least squares."""
    valid = np.isfinite(product).all(0) & np.isfinite(guide).all(0)
    a = np.concatenate([product[:, valid], np.ones((1, valid.sum()))]).T
    unexplained = []
    for band in guide[:, valid]:
        residual = band - a @ np.linalg.lstsq(a, band)[0]
        unexplained.append((residual @ residual) / ((band - band.mean()) ** 2).sum())
    return np.mean(unexplained)


@pytest.mark.parametrize("bands", [1, 4, 40])
def test_the_regression_is_numpys(bands):
    product, _, guide, _ = scene(bands)
    guides = np.concatenate([guide, product[:1] * 2 + ndimage.gaussian_filter(guide, (0, 1, 1))])
    assert no_reference.d_s(product, guides) == pytest.approx(regression(product, guides), rel=1e-6)
    product[:, 3:9, 5:20], guides[1, 30:] = np.nan, np.nan
    assert no_reference.d_s(product, guides) == pytest.approx(regression(product, guides), rel=1e-6)
    assert no_reference.d_s(product + 1e4, guides * 3 - 7) == pytest.approx(regression(product, guides), rel=1e-6)


def test_a_guide_made_of_the_bands_is_explained_with_any_other_bands():
    product, _, _, _ = scene(5)
    guide = product[:2] * 3 + product[2:4] + 5
    assert no_reference.d_s(product, guide) == pytest.approx(0, abs=1e-9)
    # A repeated band, a constant one and one without values do not change the regression.
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
    at_once = no_reference.d_s(product, guide)
    monkeypatch.setattr(no_reference, "PIXELS_AT_ONCE", 101)
    assert no_reference.d_s(product, guide) == pytest.approx(at_once, rel=1e-12)


def test_equal_images_have_no_distortion():
    _, lr, _, guide_lr = scene()
    assert no_reference.d_lambda(lr, lr) == 0
    assert no_reference.d_s_alparone(lr, lr, guide_lr, guide_lr) == 0
    assert no_reference.qnr(lr, lr, guide_lr, guide_lr) == 1
    assert no_reference.d_lambda(lr[:1], lr[:1]) == 0


def test_bands_in_units_of_their_own_are_compared():
    product, lr, guide, guide_lr = scene()
    expected = no_reference.d_s_alparone(product * 1e-3, lr * 1e-3, guide, guide_lr)
    assert 0 <= expected <= 1


def test_of_many_bands_a_sample_of_pairs(monkeypatch):
    product, lr, _, _ = scene(33, (8, 8))
    first, second = no_reference._pairs(33)
    assert len(first) == 496
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 496
    assert (first < second).all()
    assert len(no_reference._pairs(32)[0]) == 32 * 31 // 2
    monkeypatch.setattr(no_reference, "MAX_PAIRS", 5)
    product, lr, _, _ = scene(12)
    assert no_reference.d_lambda(product, lr) == no_reference.d_lambda(product, lr)
    monkeypatch.setattr(no_reference, "MAX_PAIRS", 66)
    everything = no_reference.d_lambda(product, lr)
    monkeypatch.setattr(no_reference, "MAX_PAIRS", 40)
    assert no_reference.d_lambda(product, lr) == pytest.approx(everything, rel=0.3)


@pytest.mark.parametrize(
    ("name", "names", "message"),
    [
        ("d_lambda", ("three", "lr"), "product has 3 bands, the scene 4"),
        ("d_s", ("product", "guide_lr"), "48 x 62.*guide 24 x 31"),
        ("d_s_alparone", ("product", "lr", "guide_lr", "guide"), "48 x 62.*guide 24 x 31"),
        ("d_s_alparone", ("product", "lr", "guide", "guide"), "24 x 31.*degraded guide 48 x 62"),
        ("d_s", ("product", "nothing"), "No pixel is valid"),
    ],
)
def test_inputs_that_do_not_match_are_refused(name, names, message):
    cubes = dict(zip(("product", "lr", "guide", "guide_lr"), scene(), strict=True))
    cubes |= {"three": cubes["product"][:3], "nothing": cubes["guide"] * np.nan}
    with pytest.raises(InputError, match=message):
        getattr(no_reference, name)(*(cubes[t] for t in names))
