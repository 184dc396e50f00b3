"""A survey degrades its sample once a ratio, whatever is judged on the pairs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from wald_cases import surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.wald import pairs
from dualsr_geo.models.registry import load_model
from dualsr_geo.surveying.sampling import SurveyOptions

RATIO = 4


@pytest.fixture
def degraded(monkeypatch):
    """Which samples were degraded by which ratio, counted."""
    counts = Counter()
    plain = pairs.degrade_sample

    def counted(blocks, psf, ratio, space, noise=None):
        counts[tuple(b.shape for b in blocks), ratio] += 1
        return plain(blocks, psf, ratio, space, noise)

    monkeypatch.setattr(pairs, "degrade_sample", counted)
    return counts


@pytest.mark.parametrize("model", ["auto", "regression"])
@pytest.mark.parametrize("guided", [True, False])
def test_each_pair_is_made_once(degraded, model, guided):
    sample = synthetic.make((45, 52), bands=7, seed=3)
    guide = sample.guide if guided else None
    chosen = load_model(model)
    options = SurveyOptions(
        RATIO, psf=Psf.from_mtf(RATIO), model=chosen, fine=chosen.fine, uncertainty=True, detail=True, denoise=False
    )
    survey = surveyed(sample.scene, guide, options)
    assert survey.uncertainty is not None
    assert survey.detail is not None
    assert set(degraded.values()) == {1}
    # The scene by 4 and 2, and what was degraded by 2 once more for the trend of the errors.
    assert sorted(degraded) == sorted({(((45, 52),), 4), (((45, 52),), 2), (((22, 26),), 2)})


def test_a_noisy_guide_has_pairs_with_its_noise_as_well(monkeypatch):
    """Without noise, with it, and with each of three filters; then with the filter that is chosen."""
    kept = []
    plain = pairs.degrade_sample

    def recorded(blocks, psf, ratio, space, noise=None):
        kept.append((ratio, noise is not None, noise is not None and noise.filter is not None))
        return plain(blocks, psf, ratio, space, noise)

    monkeypatch.setattr(pairs, "degrade_sample", recorded)
    sample = synthetic.make((45, 52), bands=7, seed=3)
    guide = sample.guide + 0.02 * np.random.default_rng(0).standard_normal(sample.guide.shape).astype(np.float32)
    survey = surveyed(sample.scene, guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO)))
    assert survey.guide_filter is not None
    tried = Counter({(r, False, False): 1 for r in (2, 4)} | {(r, True, False): 1 for r in (2, 4)})
    assert Counter(kept[:10]) == tried + Counter({(r, True, True): 3 for r in (2, 4)})
    # The candidates' weights rest on pairs without noise.
    assert kept[10:] == [(2, False, False), (4, False, False)]


def test_a_part_of_a_pair_is_its_middle():
    sample = synthetic.make((45, 52), bands=7, seed=3)
    options = SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO))
    survey = surveyed(sample.scene, sample.guide, options)
    blocks = [pairs.Block(*map(pairs.torch.from_numpy, (sample.scene, np.ones((45, 52), np.float32), sample.guide)))]
    whole = pairs.WaldPairs(blocks, survey.psf, survey.space).of_ratio(2)
    part = whole.part(4, 9)
    assert part.blocks[0].shape == (9, 9)
    assert part.truths[0].shape == (7, 18, 18)
    (top, left) = ((n - 9) // 2 for n in whole.blocks[0].shape)
    np.testing.assert_array_equal(part.blocks[0].cube, whole.blocks[0].cube[:, top : top + 9, left : left + 9])
    inner = np.s_[:, 2 * top : 2 * top + 18, 2 * left : 2 * left + 18]
    np.testing.assert_array_equal(part.truths[0], whole.truths[0][inner])
    np.testing.assert_array_equal(part.blocks[0].guide, whole.blocks[0].guide[inner])
    assert part.regression is whole.regression
