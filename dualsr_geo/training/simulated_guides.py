"""Guides made of references: what a camera, or a pan sensor, would see of a spectrum."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError

GuideKind = Literal["rgb", "pan", "none"]
GUIDE_BANDS = {"rgb": 3, "pan": 1, "none": 0}

# Nikon D700: red, green, blue every 10 nm from 400 to 700 nm, counts of 8 bits. It is the response that
# SFPN and most fusion papers use on CAVE; the values are those of MoG-DCN's `P.mat`, a row by its sum.
NIKON_NM = np.arange(400.0, 701.0, 10.0)
NIKON_D700 = np.array([
    [2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 6, 11, 17, 21, 22, 21, 20, 20, 19, 19, 18, 18, 17, 17],
    [1, 1, 1, 1, 1, 1, 2, 4, 6, 8, 11, 16, 19, 21, 20, 18, 16, 14, 11, 7, 5, 3, 2, 2, 1, 1, 2, 2, 2, 2, 2],
    [7, 10, 15, 19, 25, 29, 30, 29, 27, 22, 16, 9, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
], dtype=np.float64)  # fmt: skip
# Bands that a scene must have in the visible for a camera to see colours in it.
LEAST_VISIBLE = 3


def responses(kind: GuideKind, count: int, wavelengths_nm: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Return the weights of a scene's bands in each band of a guide.

    Parameters
    ----------
    kind : str
        ``"rgb"`` for the Nikon D700, ``"pan"`` for the mean of all bands, ``"none"``.
    count : int
        Bands of the scene.
    wavelengths_nm : array, shape (band,), optional
        Needed by ``"rgb"``.

    Returns
    -------
    array of float32, shape (guide band, band)
        Each row sums to 1.

    Raises
    ------
    InputError
        If a camera sees fewer than three of the bands, or where they lie is not known.
    """
    if kind != "rgb":
        return np.full((GUIDE_BANDS[kind], count), 1 / count, np.float32)
    if wavelengths_nm is None:
        raise InputError("The bands' wavelengths are not known, so no camera can be simulated. Give --guide pan.")
    weights = np.stack([np.interp(wavelengths_nm, NIKON_NM, row, left=0, right=0) for row in NIKON_D700])
    seen = int((weights.sum(0) > 0).sum())
    if seen < LEAST_VISIBLE:
        raise InputError(
            f"Only {seen} of {count} bands lie within 400..700 nm, a camera needs {LEAST_VISIBLE}. Give --guide pan."
        )
    shares: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return shares
