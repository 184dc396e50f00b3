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
from dualsr_geo.survey.sampling import SurveyOptions

RATIO = 4


@pytest.fixture
def degraded(monkeypatch):
    """Which samples were degraded by which ratio, counted."""
    counts = Counter()
    plain = pairs.degrade_sample

    def counted(blocks, psf, ratio, space):
        counts[tuple(b.shape for b in blocks), ratio] += 1
        return plain(blocks, psf, ratio, space)

    monkeypatch.setattr(pairs, "degrade_sample", counted)
    return counts


@pytest.mark.parametrize("model", ["auto", "regression"])
@pytest.mark.parametrize("guided", [True, False])
def test_each_pair_is_made_once(degraded, model, guided):
    sample = synthetic.make((45, 52), bands=7, seed=3)
    guide = sample.guide if guided else None
    chosen = load_model(model)
    options = SurveyOptions(
        RATIO, psf=Psf.from_mtf(RATIO), model=chosen, fine=chosen.fine, uncertainty=True, detail=True
    )
    survey = surveyed(sample.scene, guide, options)
    assert survey.uncertainty is not None
    assert survey.detail is not None
    assert set(degraded.values()) == {1}
    # The scene by 4 and 2, and what was degraded by 2 once more for the trend of the errors.
    assert sorted(degraded) == sorted({(((45, 52),), 4), (((45, 52),), 2), (((22, 26),), 2)})


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
