"""Our own network with a guide on a window: consistent, exact in tiles, for any bands and any guide."""

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
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.networks.guided import ARCHITECTURE, GuidedNetwork
from dualsr_geo.models.unguided_correction import spread
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.survey.survey import Survey
from dualsr_geo.training.guided_task import scene_window, survey_arrays


def part(known: Survey, lr: np.ndarray, guide: np.ndarray, at: Window, hidden: np.ndarray | None = None):
    """Return a part of a scene as a window, as the house opens a tile."""
    ratio, shape = known.psf.ratio, (lr.shape[1], lr.shape[2])
    cube = torch.from_numpy(lr[(slice(None), *at.slices)])
    near = torch.from_numpy(guide[(slice(None), *at.scaled(ratio).slices)].copy())
    op = operator(known.psf, shape, at)
    if hidden is not None:
        near[:, torch.from_numpy(hidden[at.scaled(ratio).slices])] = torch.nan
    ready = prepare_guide(near, torch.from_numpy(known.guide.mean), op)
    held = coarse_stage.GuidedStart(ready, known.model_state.fit.fit, torch.from_numpy(known.model_state.fit.mixture))
    closed, alone = (
        consistency(known.psf, shape, v.tolist(), op, at) for v in (known.model_state.ridges, known.statistics.ridges)
    )
    z = components(known.space, cube)
    hr = coarse_stage.sharpen(z, None, held, closed, alone)
    return guided_correction.GuidedWindow(known.space, cube, z, hr, held, known.psf, closed, origin=(at.y0, at.x0))


@given(st.integers(1, 20), st.integers(1, 5), st.integers(9, 19), st.integers(9, 19), st.sampled_from([2, 3, 4, 8]))
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_an_untrained_network_leaves_the_start_as_it_is(bands, guides, height, width, ratio):
    lr, guide, psf = scene_and_guide(bands, guides, height, width, ratio)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    made = guided_correction.correct(GuidedNetwork(8, 1), window, terms)
    start = window.start(terms.anchors.bands, spectral=terms.spectral)
    assert made.shape == start.shape
    assert float(made.abs().max()) <= 1e-6 * float(start.abs().max())


@given(
    st.integers(1, 20), st.integers(1, 5), st.integers(10, 17), st.integers(10, 17), st.sampled_from([2, 3, 4, 8, 16])
)
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_what_the_sensor_sees_of_a_correction_is_gone(bands, guides, height, width, ratio):
    lr, guide, psf = scene_and_guide(bands, guides, height, width, ratio)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    made = guided_correction.correct(random_guided_network(), window, terms)
    seen = window.closed.operator.degrade(spread(terms.anchors, made, slice(0, bands)))
    assert float(seen.square().mean().sqrt()) <= 0.02 * float(made.square().mean().sqrt())


@pytest.mark.parametrize(
    ("ratio", "guides", "noise"), [(2, 3, 0.0), (3, 1, 0.0), (4, 2, 0.0), (4, 3, 0.5), (8, 1, 0.0)]
)
@torch.inference_mode()
def test_a_tile_with_its_halo_equals_the_whole(ratio, guides, noise):
    height, width, halo = 61, 47, ARCHITECTURE.halo
    lr, guide, psf = scene_and_guide(14, guides, height, width, ratio, noise=noise)
    known = survey_arrays(lr, guide, psf)
    window, terms = scene_window(known, lr, guide)
    assert terms.spectral == (noise > 0)
    network = random_guided_network()
    whole = guided_correction.correct(network, window, terms)
    core = Window(27, 34, 20, 27)
    at = core.grown(halo).clipped((height, width))
    tile = guided_correction.correct(network, part(known, lr, guide, at), terms)
    wanted = whole[(slice(None), *core.scaled(ratio).slices)]
    found = tile[(slice(None), *core.within(at).scaled(ratio).slices)]
    assert float(wanted.abs().max()) > 1e-3
    assert float((wanted - found).abs().max()) <= 1e-5 * float(np.ptp(lr))


@torch.inference_mode()
def test_where_the_guide_is_not_nothing_is_corrected():
    lr, guide, psf = scene_and_guide(6, 3, 24, 21, 4)
    known = survey_arrays(lr, guide, psf)
    _, terms = scene_window(known, lr, guide)
    hidden = np.zeros(guide.shape[1:], bool)
    hidden[:, : 10 * 4] = True
    made = guided_correction.correct(
        random_guided_network(), part(known, lr, guide, Window(0, 24, 0, 21), hidden), terms
    )
    # The closed form spreads what it takes out over a few lr pixels.
    assert float(made[:, :, : 2 * 4].abs().max()) <= 1e-3 * float(made.abs().max())
    assert float(made[:, :, 16 * 4 :].abs().max()) > 0


@given(st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_units_of_the_scene_do_not_matter(scale, offset):
    lr, guide, psf = scene_and_guide(5, 3, 14, 13, 4)
    made = [
        guided_correction.correct(
            random_guided_network(), *scene_window(survey_arrays(values, guide, psf), values, guide)
        )
        for values in (lr, (scale * lr + offset).astype(np.float32))
    ]
    torch.testing.assert_close(made[1] / scale, made[0], rtol=0, atol=2e-3 * float(made[0].abs().max()))


@torch.inference_mode()
def test_the_share_scales_the_correction():
    lr, guide, psf = scene_and_guide(5, 1, 14, 13, 4)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    whole, half = (
        guided_correction.correct(random_guided_network(), window, replace(terms, share=s)) for s in (1.0, 0.5)
    )
    torch.testing.assert_close(half, 0.5 * whole)


@torch.inference_mode()
def test_the_same_twice():
    lr, guide, psf = scene_and_guide(9, 3, 15, 14, 4)
    first, second = (
        guided_correction.correct(random_guided_network(), *scene_window(survey_arrays(lr, guide, psf), lr, guide))
        for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_terms_survive_json(noise):
    lr, guide, psf = scene_and_guide(20, 2, 20, 21, 4, noise=noise)
    _, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    back = from_json(GuidedInputs, json.loads(json.dumps(to_json(terms))))
    assert back.anchors.bands == terms.anchors.bands
    assert (back.spectral, back.share) == (terms.spectral, terms.share)
    np.testing.assert_array_equal(back.anchors.spread, terms.anchors.spread)
    for name in ("std", "error", "noise", "weights", "look"):
        np.testing.assert_array_equal(getattr(back, name), getattr(terms, name))


def test_weights_and_anchors_are_what_they_say():
    lr, guide, psf = scene_and_guide(20, 4, 20, 21, 4)
    window, terms = scene_window(survey_arrays(lr, guide, psf), lr, guide)
    assert isinstance(terms.anchors, AnchorBands)
    assert len(terms.anchors.bands) == 8
    np.testing.assert_allclose(terms.weights.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(terms.std, lr.std((1, 2)), rtol=1e-3)
    # Principal components of the degraded guide have no covariance, and unit variance but for weak ones.
    fit = window.guided.fit
    seen = window.closed.operator.degrade(torch.from_numpy(guide)).flatten(1).numpy()
    shown = terms.look @ ((seen - fit.guide_mean[:, None]) / fit.guide_std[:, None])
    covariance = np.cov(shown)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-2)
    assert covariance[0, 0] == pytest.approx(1, rel=0.01)
