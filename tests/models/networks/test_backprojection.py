"""Enhanced back-projection: its resampling is MATLAB's imresize, its weight the published angle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.errors import InputError
from dualsr_geo.models.networks.backprojection import angle_weight, angles, back_project, doubled, halved


def cubic(x):
    """Keys' kernel with a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def matrix(length, scale):
    """MATLAB's documented imresize along an axis: widened kernel when shrinking, mirrored edges, rows of sum 1."""
    result = np.zeros((round(length * scale), length))
    shrink = min(scale, 1.0)
    for row, line in enumerate(result):
        centre = (row + 0.5) / scale - 0.5
        taps = np.arange(np.floor(centre - 2 / shrink), np.ceil(centre + 2 / shrink) + 1).astype(int)
        weights = cubic((centre - taps) * shrink)
        folded = taps % (2 * length)
        np.add.at(line, np.minimum(folded, 2 * length - 1 - folded), weights / weights.sum())
    return result


def resized(cube, scale):
    return np.einsum("Yy,byx,Xx->bYX", matrix(cube.shape[1], scale), cube, matrix(cube.shape[2], scale))


@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_resampling_is_matlabs(height, width, seed):
    random = np.random.default_rng(seed)
    half, hr = random.random((2, height, width)), random.random((2, 2 * height, 2 * width))
    np.testing.assert_allclose(doubled(torch.from_numpy(half)).numpy(), resized(half, 2), atol=1e-12)
    np.testing.assert_allclose(halved(torch.from_numpy(hr)).numpy(), resized(hr, 0.5), atol=1e-12)


def test_resampling_in_float32():
    hr = torch.rand(3, 26, 34)
    assert halved(hr).dtype == torch.float32
    np.testing.assert_allclose(halved(hr).numpy(), resized(hr.double().numpy(), 0.5), atol=1e-6)


@pytest.mark.parametrize("weight", [None, 0.3])
def test_the_equations(weight):
    random = np.random.default_rng(0)
    u, v = random.random((4, 10, 14)), random.random((4, 5, 7))
    m = resized(u, 0.5)
    cosine = (m * v).sum(0) / np.sqrt((m**2).sum(0) * (v**2).sum(0))
    angle = np.degrees(np.arccos(cosine)).mean()
    assert angle > 1
    wanted = u + resized((v - m) * (1.0 if weight is None else weight), 2)
    result = back_project(torch.from_numpy(u), torch.from_numpy(v), weight=weight)
    np.testing.assert_allclose(result.numpy(), wanted, atol=1e-10)


def test_the_weight_is_in_degrees_and_at_most_1():
    hr = torch.rand(5, 8, 12).double() + 0.5
    half = halved(hr)
    assert angle_weight(hr, half) == pytest.approx(0, abs=1e-5)
    half[0] *= 1.01
    expected = float(angles(halved(hr), half).mean())
    assert 0.01 < expected < 1
    assert angle_weight(hr, half) == expected
    half[0] *= 3
    assert angle_weight(hr, half) == 1.0


def test_angles():
    a = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 2.0]]).reshape(2, 1, 3)
    b = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).reshape(2, 1, 3)
    np.testing.assert_allclose(angles(a, b).numpy(), [[90.0, 0.0, 45.0]])


def test_agreement_changes_nothing():
    hr = torch.rand(3, 8, 10)
    torch.testing.assert_close(back_project(hr, halved(hr)), hr)


def test_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"\(3, 8, 10\).*\(3, 4, 6\).*\(3, 8, 12\)"):
        back_project(torch.rand(3, 8, 10), torch.rand(3, 4, 6))
