"""Lattice and overshoot: 0 without artefacts, known figures with them, additive over tiles."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from wald_cases import product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.artefacts import MAX_BANDS, MIN_WINDOWS, ArtefactSums, measure, measured_bands, total
from dualsr_geo.surveying.sampling import SurveyOptions


def whole(plane: np.ndarray, ratio: int, valid: np.ndarray | None = None, origin=(0, 0), scene=None) -> ArtefactSums:
    shape = tuple(n // ratio for n in plane.shape)
    lr = np.zeros(shape) if scene is None else scene
    valid = np.ones(shape, bool) if valid is None else valid
    core = slice(0, shape[0]), slice(0, shape[1])
    return measure(torch.from_numpy(plane), torch.from_numpy(lr), valid, core, origin)


def white(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
def test_white_detail_has_no_lattice_in_expectation(ratio):
    squares = []
    for seed in range(12):
        sums = whole(white((37 * ratio, 59 * ratio), seed), ratio)
        mean = sums.steps / sums.windows
        chance = (sums.squares / mean.size - (mean**2).mean() * sums.windows) / (sums.windows - 1) / sums.windows
        squares.append(((mean - 1) ** 2).mean() - chance)
        assert sums.lattice == pytest.approx(np.sqrt(max(0.0, squares[-1])), abs=1e-9)
    error = np.std(squares, ddof=1) / np.sqrt(len(squares))
    assert abs(np.mean(squares)) < 3 * error
    assert np.sqrt(max(0.0, np.mean(squares))) < 0.03


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_steps_at_one_position_only_have_the_largest_index(ratio):
    # One step in two lr pixels: 2 r at one position, 0 at the others, whose mean square deviation is 2 r - 1.
    repeated = np.kron(white((20, 24)), np.ones((2 * ratio, 2 * ratio)))
    assert whole(repeated, ratio).lattice == pytest.approx(np.sqrt(2 * ratio - 1), rel=1e-6)
    # One step in each lr pixel.
    nearest = np.kron(white((40, 48)), np.ones((ratio, ratio)))
    assert whole(nearest, ratio).lattice == pytest.approx(np.sqrt(ratio - 1), rel=0.1)


def test_the_index_is_free_of_scale_and_transposition():
    plane = white((168, 216)) + np.kron(white((21, 27), 1), np.ones((8, 8)))
    first = whole(plane, 4)
    assert first.lattice > 0.1
    for other in (7 * plane + 3, plane.T.copy()):
        assert whole(other, 4).lattice == pytest.approx(first.lattice, rel=1e-6)
        assert whole(other, 4).windows == first.windows


@pytest.mark.parametrize("tile", [33, 40])
def test_tiles_add_up_to_about_the_whole(tile):
    ratio, lr = 4, (130, 161)
    plane = white((lr[0] * ratio, lr[1] * ratio)) + 0.7 * np.kron(white((65, 81), 1), np.ones((8, 8)))[:, : 161 * 4]
    scene = plane.reshape(lr[0], ratio, lr[1], ratio).mean((1, 3))
    valid = white(lr, 2) < 3
    one = whole(plane, ratio, valid, scene=scene)
    parts = []
    for y in range(0, lr[0], tile):
        for x in range(0, lr[1], tile):
            y1, x1 = min(y + tile, lr[0]), min(x + tile, lr[1])
            core = slice(y, y1), slice(x, x1)
            part = torch.from_numpy(plane[y * ratio : y1 * ratio, x * ratio : x1 * ratio].copy())
            parts.append(measure(part, torch.from_numpy(scene), valid[core], core, (y, x)))
    both = total(parts)
    # Overshoot is exact: its neighbours are in the padded window. Windows do not cross the edges of tiles.
    assert (both.pixels, both.beyond) == (one.pixels, one.beyond)
    assert one.pixels == valid.sum() * ratio**2
    assert 0.5 * one.windows < both.windows < one.windows
    assert both.lattice == pytest.approx(one.lattice, rel=0.15)
    again = total(ArtefactSums.from_json(json.loads(json.dumps(p.to_json()))) for p in parts)
    assert (again.lattice, again.overshoot) == (both.lattice, both.overshoot)


def test_windows_with_holes_are_left_out():
    plane, valid = white((26 * 4, 34 * 4)), np.ones((26, 34), bool)
    assert whole(plane, 4, valid).windows == 12
    valid[2, 2] = valid[12, 20] = False
    sums = whole(plane, 4, valid)
    assert sums.windows == 10
    assert sums.pixels == (26 * 34 - 2) * 16
    hole = plane.copy()
    hole[8:12, 8:12] = 1e6
    # The windows next to the hole start on a step from outside it.
    assert whole(hole, 4, valid).squares == pytest.approx(sums.squares)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (9, 9), (10, 10), (11, 18)])
def test_tiny_tiles_have_overshoot_but_few_windows(shape):
    sums = whole(white((shape[0] * 2, shape[1] * 2)), 2)
    assert sums.windows == ((shape[0] - 2) // 8) * ((shape[1] - 2) // 8) * (min(shape) >= 10)
    assert sums.windows < MIN_WINDOWS
    assert sums.lattice is None
    assert sums.pixels == shape[0] * shape[1] * 4
    assert sums.overshoot == 1


def test_nothing_is_measured_without_steps_or_pixels():
    flat = whole(np.ones((200, 200)), 4, scene=np.ones((50, 50)))
    assert (flat.windows, flat.lattice, flat.overshoot) == (0, None, 0.0)
    empty = whole(white((200, 200)), 4, np.zeros((50, 50), bool))
    assert (empty.windows, empty.lattice, empty.overshoot) == (0, None, None)
    assert total([]).lattice is total([]).overshoot is None
    assert total([flat, empty]).overshoot == 0


def test_overshoot_counts_what_is_beyond_the_widened_range():
    scene = np.zeros((12, 12))
    scene[:, 6:] = 4
    plane = np.kron(scene, np.ones((2, 2)))
    # Next to the edge the range 0..4 is widened to -1..5, elsewhere it is a single value.
    plane[3, 11], plane[4, 11], plane[5, 12], plane[6, 2] = -0.9, -1.1, 5.1, 0.1
    sums = whole(plane, 2, scene=scene)
    assert (sums.beyond, sums.overshoot) == (3, 3 / 576)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 65, 400])
def test_measured_bands_are_evenly_spaced_and_few(count):
    used = [3 * band + 1 for band in range(count)]
    measured = measured_bands(used)
    assert measured[0] == 1
    assert set(measured) <= set(used)
    assert len(measured) == count if count <= MAX_BANDS else MAX_BANDS / 2 < len(measured) <= MAX_BANDS
    assert len(set(np.diff(measured))) <= 1


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((72, 91), bands=5, seed=1)


def measured(scene, guide, survey):
    (statistics,) = product(scene, guide, survey)[1]
    return statistics


def without_smoothing(survey):
    return replace(survey, model_state=replace(survey.model_state, smoothing=None))


def figures(scene, guide):
    statistics = measured(scene, guide, surveyed(scene, guide, SurveyOptions(4)))
    return statistics.artefacts, statistics.guide_artefacts


def test_a_clean_product_is_like_its_guide(sample):
    made, reference = figures(sample.scene, sample.guide)
    assert made.lattice < 0.05
    assert reference.lattice < 0.05
    assert made.overshoot == pytest.approx(reference.overshoot, abs=0.03)
    holed = sample.guide.copy()
    holed[:, :, 200:] = np.nan
    part = figures(sample.scene, holed)[1]
    assert 0 < part.pixels < reference.pixels == made.pixels


def test_a_blur_far_too_wide_overshoots(sample):
    bands, height, width = sample.reference.shape
    box = sample.reference.reshape(bands, height // 4, 4, width // 4, 4).mean((2, 4))
    survey = surveyed(box, sample.guide, SurveyOptions(4, psf=Psf.from_mtf(4, 0.05)))
    smoothed, plain = (measured(box, sample.guide, s) for s in (survey, without_smoothing(survey)))
    reference = plain.guide_artefacts
    assert plain.artefacts.overshoot > 0.3 + reference.overshoot
    # Its lattice is smoothed away, and much of the overshoot with it.
    assert survey.model_state.smoothing is not None
    assert smoothed.artefacts.overshoot < 0.2 + reference.overshoot


def test_repeated_pixels_are_a_lattice(sample):
    doubled = sample.scene.repeat(2, 1).repeat(2, 2)
    survey = surveyed(doubled, None, SurveyOptions(2))
    (statistics,) = product(doubled, None, survey)[1]
    assert statistics.artefacts.lattice > 0.4
    assert statistics.guide_artefacts.windows == 0
