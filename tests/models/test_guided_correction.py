"""The guided correction of a window: consistent, equal in tiles, for any bands and any guide."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from guided_cases import random_guided_network, scene_and_guide
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.fusion import coarse_stage
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.blocks import components
from dualsr_geo.fusion.prepared_guide import prepare_guide
from dualsr_geo.models import guided_correction
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.networks import guided as network_module
from dualsr_geo.models.networks.guided import ARCHITECTURE, GuidedNetwork
from dualsr_geo.models.unguided_correction import spread
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.training.tasks.guided_samples import scene_window, survey_arrays


def part(survey: Survey, lr: np.ndarray, guide: np.ndarray, at: Window, holes: np.ndarray | None = None):
    """Return a part of a scene as the window of a tile."""
    ratio, shape = survey.psf.ratio, (lr.shape[1], lr.shape[2])
    cube = torch.from_numpy(lr[(slice(None), *at.slices)])
    near = torch.from_numpy(guide[(slice(None), *at.scaled(ratio).slices)].copy())
    op = operator(survey.psf, shape, at)
    if holes is not None:
        near[:, torch.from_numpy(holes[at.scaled(ratio).slices])] = torch.nan
    ready = prepare_guide(near, torch.from_numpy(survey.guide.mean), op)
    guided_start = coarse_stage.GuidedStart(
        ready, survey.model_state.fit.fit, torch.from_numpy(survey.model_state.fit.mixture)
    )
    closed, unguided_form = (
        consistency(survey.psf, shape, v.tolist(), op, at)
        for v in (survey.model_state.ridges, survey.statistics.ridges)
    )
    z = components(survey.space, cube)
    hr = coarse_stage.sharpen(z, None, guided_start, closed, unguided_form)
    return GuidedWindow(survey.space, cube, z, hr, guided_start, survey.psf, closed, origin=(at.y0, at.x0))


@given(st.integers(1, 20), st.integers(1, 5), st.integers(9, 19), st.integers(9, 19), st.sampled_from([2, 3, 4, 8]))
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_an_untrained_network_leaves_the_start_as_it_is(bands, guides, height, width, ratio):
    lr, guide, psf = scene_and_guide(bands, guides, height, width, ratio)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    correction = guided_correction.correct(GuidedNetwork(8, 1), window, terms)
    start = window.start(terms.anchors.bands, spectral=terms.spectral)
    assert correction.shape == start.shape
    assert float(correction.abs().max()) <= 1e-6 * float(start.abs().max())


@given(
    st.integers(1, 20), st.integers(1, 5), st.integers(10, 17), st.integers(10, 17), st.sampled_from([2, 3, 4, 8, 16])
)
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_a_correction_degrades_to_nearly_nothing(bands, guides, height, width, ratio):
    lr, guide, psf = scene_and_guide(bands, guides, height, width, ratio)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    correction = guided_correction.correct(random_guided_network(), window, terms)
    degraded = window.closed.operator.degrade(spread(terms.anchors, correction, slice(0, bands)))
    assert float(degraded.square().mean().sqrt()) <= 0.02 * float(correction.square().mean().sqrt())


@pytest.mark.parametrize(
    ("ratio", "guides", "noise", "contexts"),
    [(2, 3, 0.0, 0), (3, 1, 0.0, 1), (4, 2, 0.0, 1), (4, 3, 0.5, 1), (8, 1, 0.0, 0)],
)
@torch.inference_mode()
def test_a_tile_with_its_halo_equals_the_whole(ratio, guides, noise, contexts):
    height, width, halo = 61, 47, ARCHITECTURE.halo
    lr, guide, psf = scene_and_guide(14, guides, height, width, ratio, noise=noise)
    survey = survey_arrays(lr, guide, psf)
    window, terms = scene_window(survey, lr, guide)
    assert terms.spectral == (noise > 0)
    network = random_guided_network(contexts=contexts)
    whole = guided_correction.correct(network, window, terms)
    core = Window(27, 34, 20, 27)
    at = core.grown(halo).clipped((height, width))
    tile = guided_correction.correct(network, part(survey, lr, guide, at), terms)
    expected = whole[(slice(None), *core.scaled(ratio).slices)]
    tiled = tile[(slice(None), *core.within(at).scaled(ratio).slices)]
    assert float(expected.abs().max()) > 1e-3
    assert float((expected - tiled).abs().max()) <= 1e-5 * float(np.ptp(lr))


@pytest.mark.parametrize(("ratio", "origin", "contexts"), [(4, (0, 0), 0), (3, (5, 7), 1), (12, (1, 2), 0)])
@torch.inference_mode()
def test_pieces_of_a_window_equal_the_whole(ratio, origin, contexts, monkeypatch):
    lr, guide, psf = scene_and_guide(3, 1, 23, 19, ratio)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    window = replace(window, origin=origin)
    network = random_guided_network(contexts=contexts)
    whole = guided_correction.correct(network, window, terms)
    for name in ("PIECE_SIDE_PX", "JOINT_PIECE_SIDE_PX"):
        monkeypatch.setattr(network_module, name, 30)
    shape = tuple(n * ratio for n in lr.shape[1:])
    whole_window = Window(0, shape[0], 0, shape[1])
    assert len(list(network.pieces(whole_window, shape, ratio, tuple(n * ratio for n in origin)))) > 2
    pieces = guided_correction.correct(network, window, terms)
    assert float(whole.abs().max()) > 0
    torch.testing.assert_close(pieces, whole, rtol=0, atol=2e-6 * float(whole.abs().max()))


@pytest.mark.parametrize(("ratio", "origin", "noise"), [(4, (0, 0), 0.0), (3, (5, 7), 0.5)])
@torch.inference_mode()
def test_the_correction_of_a_core_equals_that_of_the_whole_window(ratio, origin, noise):
    lr, guide, psf = scene_and_guide(14, 1, 43, 39, ratio, noise=noise)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    window = replace(window, origin=origin)
    network, core = random_guided_network(), Window(17, 23, 16, 21).scaled(ratio)
    whole, some = (guided_correction.correct(network, window, terms, *part) for part in ((), (core,)))
    # Far from the core nothing is evaluated.
    assert not torch.equal(some, whole)
    at = (slice(None), *core.slices)
    torch.testing.assert_close(some[at], whole[at], rtol=0, atol=2e-6 * float(whole.abs().max()))


@torch.inference_mode()
def test_outside_the_guide_nothing_is_corrected():
    lr, guide, psf = scene_and_guide(6, 3, 24, 21, 4)
    survey = survey_arrays(lr, guide, psf)
    _, terms = scene_window(survey, lr, guide)
    holes = np.zeros(guide.shape[1:], bool)
    holes[:, : 10 * 4] = True
    correction = guided_correction.correct(
        random_guided_network(), part(survey, lr, guide, Window(0, 24, 0, 21), holes), terms
    )
    # The closed form reaches over a few lr pixels.
    assert float(correction[:, :, : 2 * 4].abs().max()) <= 1e-3 * float(correction.abs().max())
    assert float(correction[:, :, 16 * 4 :].abs().max()) > 0


@given(st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_units_of_the_scene_do_not_matter(scale, offset):
    lr, guide, psf = scene_and_guide(5, 3, 14, 13, 4)
    correction = [
        guided_correction.correct(
            random_guided_network(), *scene_window(survey_arrays(values, guide, psf), values, guide)
        )
        for values in (lr, (scale * lr + offset).astype(np.float32))
    ]
    torch.testing.assert_close(
        correction[1] / scale, correction[0], rtol=0, atol=2e-3 * float(correction[0].abs().max())
    )


@torch.inference_mode()
def test_the_shrinkage_factor_scales_the_correction():
    lr, guide, psf = scene_and_guide(5, 1, 14, 13, 4)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    whole, half = (
        guided_correction.correct(random_guided_network(), window, replace(terms, share=s)) for s in (1.0, 0.5)
    )
    torch.testing.assert_close(half, 0.5 * whole)


@torch.inference_mode()
def test_the_correction_is_deterministic():
    lr, guide, psf = scene_and_guide(9, 3, 15, 14, 4)
    first, second = (
        guided_correction.correct(random_guided_network(), *scene_window(survey_arrays(lr, guide, psf), lr, guide))
        for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_json_round_trip_of_the_inputs_is_exact(noise):
    lr, guide, psf = scene_and_guide(20, 2, 20, 21, 4, noise=noise)
    _, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    back = from_json(GuidedInputs, json.loads(json.dumps(to_json(terms))))
    assert back.anchors.bands == terms.anchors.bands
    assert (back.spectral, back.share) == (terms.spectral, terms.share)
    np.testing.assert_array_equal(back.anchors.spread, terms.anchors.spread)
    for name in ("std", "error", "noise", "weights", "look", "correlations", "guide_correlations"):
        np.testing.assert_array_equal(getattr(back, name), getattr(terms, name))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_correlations_are_those_of_numpy(noise):
    lr, guide, psf = scene_and_guide(9, 2, 20, 21, 4, noise=noise)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    z, count = window.components.flatten(1).numpy(), len(terms.anchors.bands)
    anchors = z[:count] if terms.spectral else lr[list(terms.anchors.bands)].reshape(count, -1)
    np.testing.assert_allclose(terms.correlations[0], np.corrcoef(anchors), atol=1e-3)
    assert terms.correlations.shape == (2, count, count)
    np.testing.assert_allclose(np.diagonal(terms.correlations[1]), 1, atol=1e-5)
    fit = window.guided.fit
    degraded = window.closed.operator.degrade(torch.from_numpy(guide)).flatten(1).numpy()
    directions = terms.look @ ((degraded - fit.guide_mean[:, None]) / fit.guide_std[:, None])
    expected = np.corrcoef(np.concatenate([anchors, directions[:1]]))[:count, count]
    scale = np.std(anchors, 1) / terms.std[list(terms.anchors.bands)]
    np.testing.assert_allclose(terms.guide_correlations[:, 0], expected * scale, atol=1e-2)


def test_inputs_of_a_clean_scene():
    lr, guide, psf = scene_and_guide(20, 4, 20, 21, 4)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    assert isinstance(terms.anchors, AnchorBands)
    assert len(terms.anchors.bands) == 8
    np.testing.assert_allclose(terms.weights.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(terms.std, lr.std((1, 2)), rtol=1e-3)
    # Principal components of the degraded guide have no covariance, and unit variance but for weak ones.
    fit = window.guided.fit
    degraded = window.closed.operator.degrade(torch.from_numpy(guide)).flatten(1).numpy()
    planes = terms.look @ ((degraded - fit.guide_mean[:, None]) / fit.guide_std[:, None])
    covariance = np.cov(planes)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-2)
    assert covariance[0, 0] == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("rank", "count"), [(2, 3), (6, 4)])
def test_a_scene_of_few_bands_has_three_anchors_where_they_carry_the_errors_to_all_bands(rank, count):
    _, guide, psf = scene_and_guide(3, 1, 24, 21, 4)
    # Fields that only their place distinguishes are as many independent directions.
    fields = np.stack([np.roll(guide[0], (20 * k, 12 * k), (0, 1)) for k in range(rank)])
    mixture = np.random.default_rng(0).uniform(0.2, 1, (7, rank)).astype(np.float32)
    mixture[:rank] += np.eye(rank, dtype=np.float32)
    bands = torch.from_numpy(np.einsum("bk,kyx->byx", mixture, fields))
    lr = operator(psf, (24, 21)).degrade(bands).numpy()
    pan = fields.sum(0, keepdims=True)
    _, terms = scene_window(survey_arrays(lr, pan, psf), lr, pan)
    assert not terms.spectral
    assert len(terms.anchors.bands) == count
