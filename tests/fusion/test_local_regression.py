"""The Gaussian window and its moments, against scipy and against their definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_windows import SHAPE, noise
from scipy.ndimage import gaussian_filter

from dualsr_geo.fusion.local_regression import Moments, gaussian_window


def test_window_means_are_scipys_truncated_gaussian():
    plane = noise(1, *SHAPE)
    moments = Moments.of(plane, 1.5, None)
    # In scipy "constant" pads with zeros: dividing by the blurred ones truncates the window.
    wanted, norm = (
        gaussian_filter(v, 1.5, radius=4, mode="constant") for v in (plane[0].double().numpy(), np.ones(SHAPE))
    )
    np.testing.assert_allclose(moments.mean[0].numpy(), wanted / norm, atol=1e-6)
    assert float(moments.covariance.amin()) > 0


@given(st.integers(1, 30), st.integers(0, 9), st.integers(0, 9), st.floats(0.4, 4))
def test_a_window_has_unit_sum_a_reach_and_one_side_at_an_edge(length, before, after, width):
    inputs, outputs = range(-before, length + after), range(length)
    weights = gaussian_window(outputs, inputs, width, 2.5 * width)
    np.testing.assert_allclose(weights.sum(1), 1)
    distance = abs(np.array(outputs)[:, None] - np.array(inputs))
    assert not weights[distance > 2.5 * width].any()
    assert (weights.argmax(1) == np.arange(length) + before).all()
