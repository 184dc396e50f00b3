"""The features of the guide, and the range in which its slopes are used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from random_windows import regression_inputs

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import ClusterRegression, SceneRegression


def test_features_are_memberships_times_guide_and_the_guide():
    inputs = regression_inputs(2)
    sizes = [m.coefficients.shape[1] for m in inputs.fit.clusters.values()]
    # Then the logarithms of both guide bands, since the scene has few bands, the guide and 1.
    assert len(inputs.features) == sum(sizes) + 2 + 3
    first, features = 0, inputs.features.rows()
    for size in sizes:
        share = features[first + 2 : first + size : 3]  # every third is membership x 1
        torch.testing.assert_close(share.sum(0), torch.ones(33, 42))
        torch.testing.assert_close(features[first : first + size : 3], share * inputs.guide[0])
        first += size


def test_the_guide_is_clipped_for_local_slopes_only():
    one = np.ones(1, np.float32)
    fit = SceneRegression(
        0 * one,
        one,
        -one,
        2 * one,
        one[None],
        one,
        {2: ClusterRegression(one[:, None], 1.0, np.ones((1, 2), np.float32))},
    )
    guide = torch.tensor([[[-5.0, 0.5], [1.5, 9.0]]])
    inputs = prepare_inputs(torch.zeros(1, 1, 1), guide, fit, operator(Psf.from_mtf(2), (1, 1)))
    assert inputs.guide.tolist() == [[[-1.0, 0.5], [1.5, 2.0]]]
    assert inputs.features.rows()[-2].tolist() == guide[0].tolist()


def test_rows_and_degraded_features_are_those_of_all():
    inputs = regression_inputs(2)
    whole = inputs.features.rows()
    rows = slice(3, 9)
    for key, span in inputs.features.spans.items():
        torch.testing.assert_close(inputs.features.rows(rows, (key,)), whole[span, rows])
        degraded = inputs.operator.degrade(whole[span])
        torch.testing.assert_close(inputs.features.degraded(key, inputs.operator), degraded)


def test_distant_clusters_have_no_denormal_membership():
    inputs = regression_inputs()
    guide = inputs.guide.clone()
    guide[:, 0, 0] = 50.0
    share = replace(inputs.features, clipped=guide).rows()
    assert bool(((share == 0) | (share.abs() > torch.finfo(share.dtype).tiny)).all())
