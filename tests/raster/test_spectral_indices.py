"""Spectral indices: the bands that make them, and their errors."""

from __future__ import annotations

import numpy as np
import pytest

from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.spectral_indices import difference_sums, index_errors, index_fidelity, spectral_indices


def bands(*wavelengths: float | None) -> list[Band]:
    return [Band(wavelength_nm=w) for w in wavelengths]


def test_bands_are_those_nearest_to_the_nominal_wavelengths() -> None:
    sentinel = bands(443, 490, 560, 665, 705, 740, 783, 842, 865, 1610)
    chosen = {i.name: (i.first, i.second) for i in spectral_indices(sentinel)}
    assert chosen == {"ndvi": (7, 3), "ndwi": (2, 7), "ndre": (7, 4)}


def test_an_index_without_its_bands_is_left_out() -> None:
    assert [i.name for i in spectral_indices(bands(665, 842))] == ["ndvi"]
    assert spectral_indices(bands(None, None)) == ()
    assert spectral_indices([Band(wavelength_nm=665), Band(wavelength_nm=842, good=False)]) == ()
    assert spectral_indices(bands(10900, 12000)) == ()


def test_errors_are_bias_and_rmse_of_valid_pixels() -> None:
    index = spectral_indices(bands(665, 842))
    estimate, reference = np.array([0.5, 0.7, np.nan]), np.array([0.4, 0.9, 0.1])
    sums = difference_sums(estimate, reference, np.array([True, True, False]))
    error = index_errors(index, sums[None])["ndvi"]
    assert error["pixels"] == 2
    assert error["mean"] == pytest.approx(0.65)
    assert error["bias"] == pytest.approx(-0.05)
    assert error["rmse"] == pytest.approx(np.sqrt(0.025), rel=1e-5)
    assert index_fidelity(index, np.zeros((1, 2, 4))) is None
