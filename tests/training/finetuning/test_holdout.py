"""Scores on held-out blocks: what is used for choosing is not used for scoring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.errors import InputError
from dualsr_geo.training.finetuning.holdout import (
    HeldOutPixels,
    HoldoutResult,
    Score,
    Trial,
    block_squared_errors,
    mean_squared_error,
    score_holdout,
)


def noise(seed: int, blocks: int = 8) -> HeldOutPixels:
    rng = np.random.default_rng(seed)
    reference, start, correction = (rng.normal(size=(3, 10 * blocks)).astype(np.float32) for _ in range(3))
    return HeldOutPixels(reference, start, correction, np.repeat(np.arange(1, blocks + 1, dtype=np.int32), 10))


@given(st.integers(0, 99))
def test_the_shrinkage_is_the_best_of_its_half_and_is_scored_on_the_other(seed):
    pixels = noise(seed)
    trial = Trial((pixels,))
    for odd in (False, True):
        chosen = pixels.blocks % 2 == odd
        errors = [(pixels.start + s * pixels.correction - pixels.reference)[:, chosen] for s in np.linspace(0, 1, 101)]
        assert trial.error(odd=odd) <= min((w**2).mean() for w in errors) * (1 + 1e-5)
        factor = trial.shrinkage[not odd]
        expected = ((pixels.start + factor * pixels.correction - pixels.reference)[:, chosen] ** 2).mean()
        assert mean_squared_error(trial.cross_validated(odd=odd)) == pytest.approx(float(expected), rel=1e-5)


@given(st.integers(0, 99))
def test_squares_of_blocks_add_up(seed):
    one, other = noise(seed), noise(seed + 1)
    other = replace(other, blocks=other.blocks + 8)
    squares = block_squared_errors([one, other])
    assert squares.shape == (16,)
    assert squares.sum() / 160 == pytest.approx(mean_squared_error([one, other]), rel=1e-5)


def corrected(pixels: HeldOutPixels, factor: float) -> Trial:
    """Return a trial that removes a share of the start's error."""
    return Trial((replace(pixels, correction=factor * (pixels.reference - pixels.start)),))


def test_no_block_is_used_for_choosing_and_for_scoring():
    pixels = noise(0, 12)
    # Trial 1 is good on odd blocks only, trial 2 on even ones only.
    trials = [corrected(pixels, 0)]
    for odd in (1, 0):
        correction = 0.5 * (pixels.reference - pixels.start)
        correction[:, pixels.blocks % 2 != odd] *= -1
        trials.append(Trial((replace(pixels, correction=correction),)))
    _, result = score_holdout(trials, [0, 5, 9], 1.0)
    assert result.gain_db < -1
    assert not result.is_improvement


def test_a_network_that_is_better_everywhere_is_chosen():
    pixels = noise(0, 12)
    best, result = score_holdout([corrected(pixels, s) for s in (0, 0.1, 0.4, 0.2)], [0, 3, 6, 9], 1.0)
    assert (best, result.best_step, result.steps, result.blocks) == (2, 6, 9, 12)
    assert result.gain_db == pytest.approx(-20 * np.log10(1 - 0.4), abs=0.01)
    assert result.fitted.psnr == pytest.approx(result.start.psnr + result.gain_db, abs=0.01)
    assert result.fitted.sam < result.begin.sam
    assert result.is_improvement


@pytest.mark.parametrize(
    ("gain", "error", "blocks", "psnr", "better"),
    [
        (0.3, 0.1, 16, 30.3, True),
        (0.3, 0.2, 16, 30.3, False),  # one in twenty is 1.75 errors
        (0.3, 0.13, 8, 30.3, True),  # 1.89 of seven degrees of freedom
        (0.3, 0.13, 4, 30.3, False),  # 2.35 of three
        (0.01, 0.0, 16, 30.3, False),
        (0.3, 0.1, 16, 29.9, False),  # worse than no network
    ],
)
def test_a_gain_must_exceed_chance(gain, error, blocks, psnr, better):
    result = HoldoutResult(Score(30, 2), Score(psnr - 0.3, 2), Score(psnr, 2), gain, error, blocks, 5, 9, 1.0)
    assert result.is_improvement == better
    if not better:
        with pytest.raises(InputError, match=rf"{psnr:.2f} dB on {blocks} held-out blocks against {psnr - 0.3:.2f} dB"):
            result.require(Path("begin.safetensors"))
