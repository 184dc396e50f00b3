"""Detail assessments of images whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.detail import DetailAssessment, Piece, agreement, measure

SHAPE = (47, 61)
# Independent draws of this many pixels agree within a few percent.
CHANCE = 0.05


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def piece(restored: torch.Tensor, detail: torch.Tensor, guide: torch.Tensor | None = None) -> Piece:
    """Return an image with the detail `restored`, and a truth with the detail `detail`."""
    interpolated = noise(*detail.shape, seed=99) + 10
    guide = detail.new_zeros(0, *detail.shape[1:]) if guide is None else guide
    return Piece(
        interpolated + restored,
        interpolated + detail,
        interpolated,
        guide,
        torch.ones(detail.shape[1:], dtype=torch.bool),
    )


def assess(*pieces: Piece, noise_level: float = 0.0) -> DetailAssessment:
    return measure(pieces, np.full(len(pieces[0].truth), noise_level), 4)


def shares(assessment: DetailAssessment) -> np.ndarray:
    """Improvement, omission, hallucination, (share, band)."""
    return np.stack([assessment.improvement, assessment.omission, assessment.hallucination])


@pytest.fixture(scope="module")
def true() -> torch.Tensor:
    return noise(3, *SHAPE, seed=1)


def test_the_truth_itself_is_all_improvement(true):
    np.testing.assert_allclose(shares(assess(piece(true, true))), [[1] * 3, [0] * 3, [0] * 3], atol=1e-6)


def test_interpolation_is_all_omission(true):
    np.testing.assert_allclose(shares(assess(piece(0 * true, true))), [[0] * 3, [1] * 3, [0] * 3], atol=1e-6)


@pytest.mark.parametrize("size", [0.1, 1.0, 3.0])
def test_independent_noise_is_all_hallucination(true, size):
    assessment = assess(piece(size * noise(3, *SHAPE, seed=2), true))
    np.testing.assert_allclose(assessment.improvement, 0, atol=CHANCE)
    np.testing.assert_allclose(assessment.hallucination, size, atol=CHANCE * max(size, 1))


def test_detail_of_opposite_sign_is_all_hallucination(true):
    assessment = assess(piece(-true, true))
    np.testing.assert_allclose(assessment.improvement, 0)
    np.testing.assert_allclose(assessment.hallucination, 1, atol=1e-5)


@given(st.floats(0, 4))
def test_too_little_is_omission_and_too_much_hallucination(factor):
    true = noise(2, 9, 13, seed=1)
    assessment = assess(piece(factor * true, true))
    np.testing.assert_allclose(assessment.improvement, min(factor, 1), atol=1e-4)
    np.testing.assert_allclose(assessment.hallucination, max(factor - 1, 0), atol=1e-4)


def test_half_of_the_scene_without_detail_is_half_omitted(true):
    restored = true.clone()
    restored[:, :, SHAPE[1] // 2 :] = 0
    lost = float(true[:, :, SHAPE[1] // 2 :].abs().sum() / true.abs().sum())
    assessment = assess(piece(restored, true))
    assert np.mean(assessment.omission) == pytest.approx(lost, abs=0.02)
    np.testing.assert_allclose(assessment.hallucination, 0, atol=1e-5)


@given(st.floats(1e-3, 1e4), st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_shares_do_not_depend_on_units_and_add_up_to_the_restored_detail(scale, height, width, bands):
    true, other = noise(bands, height, width, seed=3), noise(bands, height, width, seed=4)
    guide = noise(2, height, width, seed=5)
    one = piece(0.6 * true + 0.4 * other, true, guide)
    assessment = assess(one)
    many = assess(
        Piece(*(scale * p for p in (one.restored, one.truth, one.interpolated)), 7 * scale * guide, one.valid)
    )
    np.testing.assert_allclose(shares(many), shares(assessment), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(many.guide, assessment.guide, rtol=1e-2, atol=1e-3)
    restored = (one.restored - one.interpolated).abs().sum((1, 2)) / (one.truth - one.interpolated).abs().sum((1, 2))
    agreed = assessment.improvement > 0
    np.testing.assert_allclose(
        (assessment.improvement + assessment.hallucination)[agreed], restored.numpy()[agreed], rtol=1e-3
    )


@given(st.integers(1, 60))
def test_agreement_is_the_smaller_of_both_with_the_sign_of_their_product(count):
    a, b = noise(2, count, seed=count), noise(2, count, seed=count + 1)
    expected = (torch.sign(a * b) * torch.minimum(a.abs(), b.abs())).sum(1)
    torch.testing.assert_close(agreement(a, b).float(), expected, rtol=1e-4, atol=1e-4)


def test_differences_within_the_noise_are_no_detail(true):
    level = 0.1
    sensor, restored = level * noise(3, *SHAPE, seed=6), level * noise(3, *SHAPE, seed=7)
    sparse = torch.where(true > 1.5, 100 * level, 0.0)
    assessment, without_noise_level = (
        assess(piece(sparse + restored, sparse + sensor), noise_level=n) for n in (level, 0.0)
    )
    assert (assessment.omission < 0.02).all()
    assert (assessment.hallucination < 0.02).all()
    assert (without_noise_level.omission > 0.05).all()
    within = assess(
        piece(restored.clamp(-2 * level, 2 * level), sensor.clamp(-2 * level, 2 * level)), noise_level=level
    )
    assert np.isnan(within.improvement).all()


# ---- origin of hallucinated detail -----------------------------------------------------------------


@pytest.mark.parametrize("guides", [1, 3])
def test_false_detail_that_the_guide_shows_is_attributed_to_the_guide(true, guides):
    guide = noise(guides, *SHAPE, seed=8)
    assessment = assess(piece(true + 0.5 * guide.mean(0), true, guide))
    assert (assessment.hallucination > 0.05).all()
    assert (assessment.neither < 0.05 * assessment.hallucination).all()


@pytest.mark.parametrize("guides", [1, 3, 8])
def test_noise_is_not_attributed_to_the_guide(true, guides):
    assessment = assess(piece(true + 0.5 * noise(3, *SHAPE, seed=9), true, noise(guides, *SHAPE, seed=8)))
    assert (assessment.guide < 0.05 * assessment.hallucination).all()


def test_nothing_is_attributed_to_a_guide_that_shows_the_truth(true):
    """Neither noise nor missing detail."""
    for restored in (true + 0.5 * noise(3, *SHAPE, seed=9), 0.3 * true, 0 * true):
        assert (assess(piece(restored, true, true)).guide < 0.03).all()


def test_both_origins_are_separated(true):
    guide, own = noise(1, *SHAPE, seed=8), noise(3, *SHAPE, seed=9)
    assessment = assess(piece(true + 0.6 * guide + 0.3 * own, true, guide))
    # Energies of 0.36 and 0.09.
    np.testing.assert_allclose(assessment.guide / assessment.hallucination, 0.8, atol=0.05)


def test_without_a_guide_nothing_is_attributed_to_it(true):
    assessment = assess(piece(true + noise(3, *SHAPE, seed=9), true))
    np.testing.assert_array_equal(assessment.guide, 0)
    np.testing.assert_array_equal(assessment.neither, assessment.hallucination)


# ---- pieces, holes, JSON -----------------------------------------------------------------


def test_invalid_pixels_do_not_count(true):
    one = piece(true + noise(3, *SHAPE, seed=9), true, noise(2, *SHAPE, seed=8))
    rows = slice(0, 32)
    valid = one.valid.clone()
    valid[32:] = False
    invalid = [p.clone() for p in (one.restored, one.truth, one.interpolated, one.guide)]
    for planes in invalid:
        planes[:, 32:] = 1e6
    cut = Piece(*(p[:, rows] for p in (one.restored, one.truth, one.interpolated, one.guide)), one.valid[rows])
    with_invalid, cropped = assess(Piece(*invalid, valid)), assess(cut)
    for name in ("improvement", "guide", "neither"):
        np.testing.assert_allclose(getattr(with_invalid, name), getattr(cropped, name), rtol=1e-5, atol=1e-6)


def test_pieces_are_weighted_by_their_detail(true):
    good, none = piece(true, true), piece(0 * true, true)
    np.testing.assert_allclose(assess(good, none).improvement, 0.5, atol=1e-6)


def test_a_band_without_detail_has_no_shares(true):
    flat = true.clone()
    flat[1] = 0
    assessment = assess(piece(true, flat))
    np.testing.assert_array_equal(np.isnan(assessment.improvement), [False, True, False])
    np.testing.assert_array_equal(np.isnan(assessment.hallucination), [False, True, False])


@pytest.mark.parametrize("guided", [True, False])
def test_json_round_trip_is_exact(true, guided):
    flat = true.clone()
    flat[1] = 0
    assessment = assess(piece(true + noise(3, *SHAPE, seed=9), flat, noise(2, *SHAPE, seed=8)))
    assessment = replace(assessment, contradicted=np.float32([0.1, 0.2, 0.3]) if guided else None)
    back = from_json(DetailAssessment, json.loads(json.dumps(to_json(assessment), allow_nan=False)))
    assert back.ratio == assessment.ratio
    assert (back.contradicted is None) == (not guided)
    for name in ("improvement", "guide", "neither", *(["contradicted"] if guided else [])):
        np.testing.assert_array_equal(getattr(back, name), getattr(assessment, name))
