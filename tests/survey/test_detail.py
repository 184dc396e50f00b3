"""What detail is worth where the truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.survey.detail import DetailAssessment, Piece, agreement, measure

SHAPE = (47, 61)
# Independent draws of this many pixels agree within a few percent.
CHANCE = 0.05


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def piece(made: torch.Tensor, detail: torch.Tensor, guide: torch.Tensor | None = None) -> Piece:
    """Return an image whose detail is `made`, of a truth whose detail is `detail`."""
    plain = noise(*detail.shape, seed=99) + 10
    guide = detail.new_zeros(0, *detail.shape[1:]) if guide is None else guide
    return Piece(plain + made, plain + detail, plain, guide, torch.ones(detail.shape[1:], dtype=torch.bool))


def worth(*pieces: Piece, least: float = 0.0) -> DetailAssessment:
    return measure(pieces, np.full(len(pieces[0].truth), least), 4)


def shares(found: DetailAssessment) -> np.ndarray:
    """Improvement, omission, hallucination, (share, band)."""
    return np.stack([found.improvement, found.omission, found.hallucination])


@pytest.fixture(scope="module")
def true() -> torch.Tensor:
    return noise(3, *SHAPE, seed=1)


def test_the_truth_itself_is_all_improvement(true):
    np.testing.assert_allclose(shares(worth(piece(true, true))), [[1] * 3, [0] * 3, [0] * 3], atol=1e-6)


def test_interpolation_is_all_omission(true):
    np.testing.assert_allclose(shares(worth(piece(0 * true, true))), [[0] * 3, [1] * 3, [0] * 3], atol=1e-6)


@pytest.mark.parametrize("size", [0.1, 1.0, 3.0])
def test_independent_noise_is_all_hallucination(true, size):
    found = worth(piece(size * noise(3, *SHAPE, seed=2), true))
    np.testing.assert_allclose(found.improvement, 0, atol=CHANCE)
    np.testing.assert_allclose(found.hallucination, size, atol=CHANCE * max(size, 1))


def test_detail_turned_round_is_worse_than_none(true):
    found = worth(piece(-true, true))
    np.testing.assert_allclose(found.improvement, 0)
    np.testing.assert_allclose(found.hallucination, 1, atol=1e-5)


@given(st.floats(0, 4))
def test_too_little_is_omission_and_too_much_hallucination(factor):
    true = noise(2, 9, 13, seed=1)
    found = worth(piece(factor * true, true))
    np.testing.assert_allclose(found.improvement, min(factor, 1), atol=1e-4)
    np.testing.assert_allclose(found.hallucination, max(factor - 1, 0), atol=1e-4)


def test_half_of_the_scene_without_detail_is_half_omitted(true):
    made = true.clone()
    made[:, :, SHAPE[1] // 2 :] = 0
    lost = float(true[:, :, SHAPE[1] // 2 :].abs().sum() / true.abs().sum())
    found = worth(piece(made, true))
    assert np.mean(found.omission) == pytest.approx(lost, abs=0.02)
    np.testing.assert_allclose(found.hallucination, 0, atol=1e-5)


@given(st.floats(1e-3, 1e4), st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_shares_know_no_units_and_their_sums_are_what_was_made(scale, height, width, bands):
    true, other = noise(bands, height, width, seed=3), noise(bands, height, width, seed=4)
    guide = noise(2, height, width, seed=5)
    one = piece(0.6 * true + 0.4 * other, true, guide)
    found = worth(one)
    many = worth(Piece(*(scale * p for p in (one.made, one.truth, one.plain)), 7 * scale * guide, one.valid))
    np.testing.assert_allclose(shares(many), shares(found), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(many.guide, found.guide, rtol=1e-2, atol=1e-3)
    made = (one.made - one.plain).abs().sum((1, 2)) / (one.truth - one.plain).abs().sum((1, 2))
    agreed = found.improvement > 0
    np.testing.assert_allclose((found.improvement + found.hallucination)[agreed], made.numpy()[agreed], rtol=1e-3)


@given(st.integers(1, 60))
def test_agreement_is_the_smaller_of_both_with_the_sign_of_their_product(count):
    a, b = noise(2, count, seed=count), noise(2, count, seed=count + 1)
    expected = (torch.sign(a * b) * torch.minimum(a.abs(), b.abs())).sum(1)
    torch.testing.assert_close(agreement(a, b).float(), expected, rtol=1e-4, atol=1e-4)


def test_what_lies_in_the_noise_is_no_detail(true):
    level = 0.1
    sensor, made = level * noise(3, *SHAPE, seed=6), level * noise(3, *SHAPE, seed=7)
    sparse = torch.where(true > 1.5, 100 * level, 0.0)
    found, deaf = (worth(piece(sparse + made, sparse + sensor), least=n) for n in (level, 0.0))
    assert (found.omission < 0.02).all()
    assert (found.hallucination < 0.02).all()
    assert (deaf.omission > 0.05).all()
    within = worth(piece(made.clamp(-2 * level, 2 * level), sensor.clamp(-2 * level, 2 * level)), least=level)
    assert np.isnan(within.improvement).all()


# ---- where it comes from -----------------------------------------------------------------


@pytest.mark.parametrize("guides", [1, 3])
def test_what_the_guide_has_and_the_truth_has_not_is_the_guides(true, guides):
    guide = noise(guides, *SHAPE, seed=8)
    found = worth(piece(true + 0.5 * guide.mean(0), true, guide))
    assert (found.hallucination > 0.05).all()
    assert (found.neither < 0.05 * found.hallucination).all()


@pytest.mark.parametrize("guides", [1, 3, 8])
def test_noise_is_of_neither(true, guides):
    found = worth(piece(true + 0.5 * noise(3, *SHAPE, seed=9), true, noise(guides, *SHAPE, seed=8)))
    assert (found.guide < 0.05 * found.hallucination).all()


def test_a_guide_that_shows_the_truth_is_not_blamed(true):
    """Neither for noise, nor for what is lacking."""
    for made in (true + 0.5 * noise(3, *SHAPE, seed=9), 0.3 * true, 0 * true):
        assert (worth(piece(made, true, true)).guide < 0.03).all()


def test_both_origins_are_told_apart(true):
    guide, own = noise(1, *SHAPE, seed=8), noise(3, *SHAPE, seed=9)
    found = worth(piece(true + 0.6 * guide + 0.3 * own, true, guide))
    # Energies of 0.36 and 0.09.
    np.testing.assert_allclose(found.guide / found.hallucination, 0.8, atol=0.05)


def test_without_a_guide_all_is_of_neither(true):
    found = worth(piece(true + noise(3, *SHAPE, seed=9), true))
    np.testing.assert_array_equal(found.guide, 0)
    np.testing.assert_array_equal(found.neither, found.hallucination)


# ---- pieces, holes, JSON -----------------------------------------------------------------


def test_invalid_pixels_do_not_count(true):
    one = piece(true + noise(3, *SHAPE, seed=9), true, noise(2, *SHAPE, seed=8))
    rows = slice(0, 32)
    valid = one.valid.clone()
    valid[32:] = False
    spoilt = [p.clone() for p in (one.made, one.truth, one.plain, one.guide)]
    for planes in spoilt:
        planes[:, 32:] = 1e6
    cut = Piece(*(p[:, rows] for p in (one.made, one.truth, one.plain, one.guide)), one.valid[rows])
    seen, kept = worth(Piece(*spoilt, valid)), worth(cut)
    for name in ("improvement", "guide", "neither"):
        np.testing.assert_allclose(getattr(seen, name), getattr(kept, name), rtol=1e-5, atol=1e-6)


def test_pieces_count_by_their_detail(true):
    good, none = piece(true, true), piece(0 * true, true)
    np.testing.assert_allclose(worth(good, none).improvement, 0.5, atol=1e-6)


def test_a_band_without_detail_says_nothing(true):
    flat = true.clone()
    flat[1] = 0
    found = worth(piece(true, flat))
    np.testing.assert_array_equal(np.isnan(found.improvement), [False, True, False])
    np.testing.assert_array_equal(np.isnan(found.hallucination), [False, True, False])


@pytest.mark.parametrize("guided", [True, False])
def test_json_brings_it_back(true, guided):
    flat = true.clone()
    flat[1] = 0
    found = worth(piece(true + noise(3, *SHAPE, seed=9), flat, noise(2, *SHAPE, seed=8)))
    found = replace(found, contradicted=np.float32([0.1, 0.2, 0.3]) if guided else None)
    back = from_json(DetailAssessment, json.loads(json.dumps(to_json(found), allow_nan=False)))
    assert back.ratio == found.ratio
    assert (back.contradicted is None) == (not guided)
    for name in ("improvement", "guide", "neither", *(["contradicted"] if guided else [])):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
