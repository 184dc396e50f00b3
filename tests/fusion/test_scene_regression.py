"""The line against scipy's least squares; clusters without chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from scipy.linalg import lstsq

from dualsr_geo.fusion import scene_regression


def draw(guides: int = 3, pixels: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    guide = (rng.random((guides, pixels)) * np.array([[5.0], [0.1], [300.0]])[:guides] + 7).astype(np.float32)
    z = rng.standard_normal((4, guides)) @ (guide / guide.std(1, keepdims=True)) + rng.normal(0, 0.3, (4, pixels))
    return z.astype(np.float32), guide, np.ones(pixels, np.float32)


def plain(fit: scene_regression.SceneRegression) -> list[np.ndarray]:
    mixtures = [v for m in fit.clusters.values() for v in (m.centres, np.array(m.width), m.coefficients)]
    return [fit.guide_mean, fit.guide_std, fit.guide_low, fit.guide_high, fit.slope, fit.intercept, *mixtures]


@pytest.mark.parametrize("guides", [1, 3])
def test_the_line_is_least_squares(guides):
    z, guide, weight = draw(guides)
    fit = scene_regression.fit_scene_regression(z, guide, weight)
    y = (guide - fit.guide_mean[:, None]) / fit.guide_std[:, None]
    wanted = lstsq(np.vstack([y, np.ones(500)]).T, z.T)[0].T
    np.testing.assert_allclose(fit.slope, wanted[:, :-1], atol=1e-3)
    np.testing.assert_allclose(fit.intercept, wanted[:, -1], atol=1e-3)


def test_weights_are_as_repeated_pixels():
    z, guide, weight = draw()
    weight[::3] = 0
    weight[1::3] = 0.5
    fit = scene_regression.fit_scene_regression(z, guide, weight)
    twice = np.repeat(np.arange(500), (2 * weight).astype(int))
    same = scene_regression.fit_scene_regression(z[:, twice], guide[:, twice], np.ones(len(twice), np.float32))
    np.testing.assert_allclose(fit.slope, same.slope, atol=1e-4)
    np.testing.assert_allclose(fit.guide_std, same.guide_std, rtol=1e-5)


def test_nothing_is_drawn():
    """The same result whatever the global generators hold, and their state stays the same."""
    z, guide, weight = draw()
    results = []
    for seed in (0, 1, 12345):
        np.random.seed(seed)  # noqa: NPY002  # the legacy global generator is what is tested
        torch.manual_seed(seed)
        results.append(plain(scene_regression.fit_scene_regression(z, guide, weight)))
        after = np.random.random(), torch.rand(1).item()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        assert after == (np.random.random(), torch.rand(1).item())  # noqa: NPY002
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_clusters_are_scipys_kmeans_from_the_same_start():
    pixels = np.concatenate([np.random.default_rng(i).normal(4 * i, 0.5, (50, 2)) for i in range(3)])
    centres, width = scene_regression._clusters(pixels, 3)
    order = np.argsort(pixels.sum(1), kind="stable")
    start = np.stack([pixels[b].mean(0) for b in np.array_split(order, 3)])
    wanted, label = kmeans2(pixels, start, minit="matrix", iter=15)
    np.testing.assert_allclose(np.sort(centres, 0), np.sort(wanted, 0))
    assert width == pytest.approx(np.sqrt(((pixels - wanted[label]) ** 2).sum(1).mean()))


def test_memberships_sum_to_one_and_prefer_the_nearest():
    centres = np.array([[-3.0], [0.0], [3.0]])
    y = np.linspace(-4, 4, 41)[None]
    share = scene_regression._membership(y, centres, 0.5)
    np.testing.assert_allclose(share.sum(0), 1)
    np.testing.assert_array_equal(share.argmax(0), np.abs(y - centres).argmin(0))


def test_a_mixture_follows_two_materials_that_one_line_cannot():
    rng = np.random.default_rng(2)
    guide = np.concatenate([rng.uniform(0, 1, 300), rng.uniform(10, 11, 300)])[None].astype(np.float32)
    z = np.where(guide < 5, guide, 11 - guide).astype(np.float32)
    fit = scene_regression.fit_scene_regression(z, guide, np.ones(600, np.float32))
    y = (guide - fit.guide_mean[:, None]) / fit.guide_std[:, None]
    line = fit.slope @ y + fit.intercept[:, None]
    mixture = fit.clusters[6]
    share = scene_regression._membership(y, mixture.centres, mixture.width)
    features = np.concatenate([s * np.vstack([y, np.ones_like(y)]) for s in share])
    better = line + mixture.coefficients @ features
    assert np.std(z - better) < 0.25 * np.std(z - line)


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [1.0, 2.0, 4.0]])
def test_a_guide_of_few_values_is_no_trouble(values):
    """Fewer colours than clusters: empty ones stay where they are, and nobody is warned."""
    guide = np.resize(np.array(values, np.float32), (1, 90))
    z = np.random.default_rng(0).random((2, 90), np.float32)
    fit = scene_regression.fit_scene_regression(z, guide, np.ones(90, np.float32))
    assert all(np.isfinite(v).all() for v in plain(fit))
    means = np.stack([z[:, guide[0] == v].mean(1) for v in values], 1)
    y = (np.array(values) - fit.guide_mean) / fit.guide_std
    if len(values) < 3:
        np.testing.assert_allclose(fit.slope @ y[None] + fit.intercept[:, None], means, atol=1e-3)


def test_the_guides_range_gets_a_margin_of_itself():
    z, guide, weight = draw(1)
    fit = scene_regression.fit_scene_regression(z, guide, weight)
    y = (guide[0] - fit.guide_mean[0]) / fit.guide_std[0]
    assert fit.guide_low[0] == pytest.approx(y.min() - np.ptp(y), rel=1e-4)
    assert fit.guide_high[0] == pytest.approx(y.max() + np.ptp(y), rel=1e-4)
