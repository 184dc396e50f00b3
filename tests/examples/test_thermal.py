"""Simulated temperatures, and the methods of others that sharpen them."""

from __future__ import annotations

import atprk
import dms
import numpy as np
import pytest
import temperatures
import tsharp
from periodic import Inputs, spline
from temperatures import Optical

RATIO = 4
SHAPE = (64, 80)


def image() -> np.ndarray:
    """Return four bands of fields with straight edges, positive, (band, y, x)."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    fields = np.stack([(x + y) // 13 % 3 / 2, (x - 2 * y) // 17 % 4 / 3])
    mixing = np.random.default_rng(0).uniform(0.1, 1, (4, 2))
    return (0.2 + np.einsum("bk,kyx->byx", mixing, fields)).astype(np.float32)


def pair(truth: np.ndarray, guide: np.ndarray) -> Inputs:
    cells = np.stack([tsharp.blocks(plane.astype(np.float64), RATIO).mean(-1) for plane in truth])
    return Inputs(cells.astype(np.float32), guide, temperatures.sensor_psf(RATIO), np.zeros((len(guide), 1)))


def rms(made: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((made - truth).astype(float) ** 2)))


def test_tsharp_restores_a_temperature_that_is_linear_in_the_index():
    guide = image()[:1]
    truth = 310 - 8 * guide
    assert rms(tsharp.tsharp(pair(truth, guide), 1.0), truth) < 0.05


@pytest.mark.parametrize("area", atprk.AREAS[:1])
def test_kriging_keeps_the_mean_of_each_area(area):
    guide = image()
    truth = (300 + 5 * guide[:1] - 3 * guide[2:3] + np.sin(np.arange(SHAPE[1]) / 7)).astype(np.float32)
    given = pair(truth, guide)
    made = atprk.atprk(given, area)
    np.testing.assert_allclose(tsharp.blocks(made[0].astype(float), RATIO).mean(-1), given.scene[0], atol=0.02)
    assert rms(made, truth) < 0.5 * rms(spline(given.scene, RATIO), truth)


def test_the_trees_find_classes():
    guide = image()
    truth = np.where(guide[:1] > np.median(guide[0]), 300.0, 310.0).astype(np.float32)
    given = pair(truth, guide)
    assert rms(dms.dms(given, 10.0), truth) < rms(spline(given.scene, RATIO), truth)


def test_radiance_and_temperature_are_inverse():
    kelvin = np.linspace(250, 340, 7)
    np.testing.assert_allclose(temperatures.brightness_temperature(temperatures.radiance(kelvin)), kelvin)


@pytest.mark.parametrize("ratio", [3, 4, 8])
def test_the_sensor_keeps_a_constant_and_a_third_at_the_nyquist_frequency(ratio):
    matrix = temperatures.sensor_matrix(24 * ratio, ratio)
    np.testing.assert_allclose(matrix.sum(1), 1)
    phase = np.exp(1j * np.pi * np.arange(24 * ratio) / ratio)
    assert abs(matrix[12] @ phase) == pytest.approx(0.36, abs=0.03)


def test_a_temperature_has_the_classes_of_its_image():
    bands = image()
    kelvin = temperatures.truth(Optical(bands, 0, 1, 2, 3), 0)
    assert kelvin.shape == SHAPE
    assert 270 < kelvin.min() < kelvin.max() < 340
