"""Spectra of the materials on a synthetic landscape, and the responses of its guides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Edges of the panchromatic band; centre and FWHM of the bands of an RGB guide, nm.
PAN_NM = (450.0, 800.0)
RGB_NM = ((650.0, 80.0), (550.0, 80.0), (460.0, 70.0))


def _bump(nm: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((nm - centre) / width) ** 2)


def _step(nm: NDArray[np.float64], centre: float, width: float) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-(nm - centre) / width))


def _water_bands(nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the absorption by liquid water in leaves and soil, 0..1."""
    return (
        0.15 * _bump(nm, 970, 35) + 0.25 * _bump(nm, 1200, 50) + 0.7 * _bump(nm, 1450, 70) + 0.75 * _bump(nm, 1940, 80)
    )


def _leaf(nm: NDArray[np.float64], green: float, infrared: float) -> NDArray[np.float64]:
    visible = 0.03 + green * _bump(nm, 550, 35) - 0.015 * _bump(nm, 670, 25)
    plateau = infrared * _step(nm, 718, 13) * (1 - 0.35 * _step(nm, 1500, 200))
    return (visible * (1 - _step(nm, 718, 13)) + plateau) * (1 - _water_bands(nm))


def _soil(nm: NDArray[np.float64], level: float, iron: float) -> NDArray[np.float64]:
    continuum = level * (0.35 + 0.65 * (1 - np.exp(-(nm - 380) / 600)))
    return continuum * (1 - iron * _bump(nm, 870, 90) - 0.3 * iron * _bump(nm, 500, 60)) * (1 - 0.5 * _water_bands(nm))


MATERIALS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "crop": lambda nm: _leaf(nm, 0.09, 0.52),
    "meadow": lambda nm: _leaf(nm, 0.06, 0.38) + 0.02,
    "trees": lambda nm: 0.7 * _leaf(nm, 0.045, 0.42),
    "bare soil": lambda nm: _soil(nm, 0.34, 0.12),
    "dry straw": lambda nm: 0.12 + 0.33 * _step(nm, 600, 90) - 0.06 * _bump(nm, 2100, 60),
    "asphalt": lambda nm: 0.07 + 0.04 * (nm - 400) / 2050,
    "concrete": lambda nm: 0.24 + 0.12 * (1 - np.exp(-(nm - 400) / 250)) - 0.03 * _bump(nm, 2330, 50),
    "red roof": lambda nm: 0.05 + 0.30 * _step(nm, 585, 16) - 0.05 * _bump(nm, 870, 80),
    "blue roof": lambda nm: 0.10 + 0.20 * _bump(nm, 465, 45) + 0.22 * _step(nm, 760, 30),
    "water": lambda nm: 0.045 * _bump(nm, 520, 110) + 0.006,
    # Variation within materials: moisture and pigment.
    "moisture": lambda nm: -0.05 * _water_bands(nm) - 0.01,
    "pigment": lambda nm: 0.03 * _bump(nm, 600, 50) - 0.02 * _bump(nm, 680, 20),
}


def material_spectra(nm: NDArray[np.float64]) -> Array:
    """Return the reflectance of every material, shape (material, band)."""
    return np.stack([s(nm) for s in MATERIALS.values()]).astype(np.float32)


def guide_spectra(kind: str) -> Array:
    """Return the reflectance of every material in the bands of a guide, shape (material, guide band)."""
    nm = np.arange(400.0, 1000.0, 5.0)
    if kind == "pan":
        responses = [_step(nm, PAN_NM[0], 8) * (1 - _step(nm, PAN_NM[1], 8))]
    else:
        responses = [_bump(nm, centre, width / 2.355) for centre, width in RGB_NM]
    weights = np.stack([r / r.sum() for r in responses], 1)
    return np.asarray(material_spectra(nm) @ weights, np.float32)
