"""The step of a guide whose values are on a lattice: integers, scaled integers, few grey levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A step is at least so many roundings of a float32 of the band's largest value: floats are a lattice, too.
MIN_ROUNDINGS = 8
# Largest distance of a value from the lattice, steps, and share of the values that may exceed it.
TOLERANCE = 0.1
MAX_OFF_SHARE = 0.01
# Distinct values of a band that are compared; more do not change the step.
MAX_VALUES = 65536


def lattice_steps(samples: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the distance of neighbouring values of each band, 0 where its values are on no lattice.

    Parameters
    ----------
    samples : sequence of array, shape (value,)
        Valid values of each band.
    """
    return np.array([_step(s) for s in samples])


def _step(values: NDArray[np.float32]) -> float:
    distinct = np.unique(values)[:MAX_VALUES].astype(np.float64)
    if len(distinct) < 2:
        return 0.0
    rounding = float(np.spacing(np.float32(np.abs(distinct).max())))
    gaps = np.diff(distinct)
    smallest = float(gaps[gaps > MIN_ROUNDINGS / 2 * rounding].min(initial=np.inf))
    if not np.isfinite(smallest) or smallest < MIN_ROUNDINGS * rounding:
        return 0.0
    # Gaps are multiples of the step within the rounding of both ends. The mean over all multiples is exact.
    multiples = np.round(gaps / smallest)
    step = float(gaps.sum() / max(multiples.sum(), 1.0))
    off = np.abs(gaps / step - np.round(gaps / step))
    return step if float((off > TOLERANCE).mean()) <= MAX_OFF_SHARE else 0.0
