"""Numbers that describe how sharp a plane is: spectra, edge profiles, differences and noise, along rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Windows of the spectra, and their step, pixels.
WINDOW_PX, STEP_PX = 16, 4
# The frequencies k / WINDOW_PX that are low: they say how much structure there is.
LOW_FREQUENCIES = 3
# Share of the windows that have the most structure.
STRONG_WINDOWS = 0.1
# Differences to either side of an edge in its profile, and the strongest shares of the edges that are described.
REACH_PX = 3
STRONG_EDGES = (0.02, 0.1)
# Fewest edges that are described.
MIN_EDGES = 8
SUM_PERCENT = (5, 10, 25, 50, 75, 90)
SIDE_PERCENT = (25, 50, 75)
PEAK_PERCENT = (25, 50, 75, 90, 97)
OVERSHOOT_PERCENT = (10, 25, 50)
NOISE_PERCENT = (10, 50, 99)
# Added to shares before their logarithm is taken.
SMALLEST = 1e-6


@dataclass(frozen=True)
class PlaneFeatures:
    """What is known of one plane.

    Attributes
    ----------
    values : array, shape (feature,)
    narrowest : float
        The 10 % quantile of the differences next to the strongest edges, both sides together, relative to the edge:
        0 for the sharpest edge, 2 for a ramp.
    correlation : float
        Of neighbouring pixels, -1..1.
    pixels : int
    """

    values: Floats
    narrowest: float
    correlation: float
    pixels: int


def plane_features(planes: Sequence[Floats]) -> PlaneFeatures | None:
    """Describe planes of one kind together.

    Parameters
    ----------
    planes : sequence of array, shape (y, x)
        NaN where there is no value; at least `WINDOW_PX` pixels a side.

    Returns
    -------
    PlaneFeatures or None
        None for planes without variation, edges or whole windows.
    """
    lines = _standardised(planes)
    if lines is None:
        return None
    spectra, edges = _spectra(lines), _edges(lines)
    if spectra is None or edges is None:
        return None
    profiles, narrowest = edges
    pixels = sum(int(np.isfinite(p).sum()) for p in planes)
    correlation = _mean([p[:, :-1] * p[:, 1:] for p in lines])
    noise = _noise(lines[: len(planes)])
    values = np.concatenate([spectra, profiles, _differences(lines), noise, [np.log(pixels)]])
    return PlaneFeatures(values.astype(np.float32), narrowest, correlation, pixels)


def _standardised(planes: Sequence[Floats]) -> list[Floats] | None:
    """Return the planes with mean 0 and deviation 1, and their transposes; None without variation."""
    values = np.concatenate([p[np.isfinite(p)] for p in planes])
    if not len(values):
        return None
    mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if not std > SMALLEST * abs(mean):
        return None
    rows = [((p - mean) / std).astype(np.float32) for p in planes]
    return [*rows, *(np.ascontiguousarray(p.T) for p in rows)]


# ---- spectra -----------------------------------------------------------------------------


def _spectra(lines: Sequence[Floats]) -> Floats | None:
    """Return the mean spectrum, and that of the windows with the most structure, relative to low frequencies; logs."""
    power = np.concatenate([_power(p) for p in lines])
    if not len(power):
        return None
    low = power[:, :LOW_FREQUENCIES].mean(1)
    mean = power.mean(0)
    all_of_them = np.log(mean[1:] / mean[:LOW_FREQUENCIES].mean() + SMALLEST)
    strong = low >= np.quantile(low, 1 - STRONG_WINDOWS)
    relative = power[strong] / np.maximum(low[strong, None], SMALLEST**2)
    return np.concatenate([all_of_them, np.log(relative + SMALLEST).mean(0)])


def _power(plane: Floats) -> Floats:
    """Return the power of windows along the rows at k / `WINDOW_PX`, (window, k), k from 1 on."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, WINDOW_PX, 1)[:, ::STEP_PX].reshape(-1, WINDOW_PX)
    windows = windows[np.isfinite(windows).all(1)]
    windows = windows - windows.mean(1, keepdims=True)
    at = np.arange(WINDOW_PX)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * (at + 0.5) / WINDOW_PX)
    phase = 2 * np.pi * np.outer(at, np.arange(1, WINDOW_PX // 2 + 1)) / WINDOW_PX
    cosine, sine = ((taper[:, None] * wave(phase)).astype(np.float32) for wave in (np.cos, np.sin))
    power: Floats = (windows @ cosine) ** 2 + (windows @ sine) ** 2
    return power


# ---- edges -------------------------------------------------------------------------------


def _edges(lines: Sequence[Floats]) -> tuple[Floats, float] | None:
    """Return what the strongest edges look like, and how narrow the narrowest of them are."""
    profiles = np.concatenate([_profiles(np.diff(p, axis=1)) for p in lines])
    if len(profiles) < MIN_EDGES:
        return None
    strength = np.abs(profiles[:, REACH_PX])
    order = np.argsort(-strength, kind="stable")
    relative = profiles[order] / profiles[order, REACH_PX, None]
    counts = [min(len(order), max(MIN_EDGES, int(share * len(order)))) for share in STRONG_EDGES]
    described = np.concatenate([_described(relative[:n]) for n in counts])
    next_to = relative[: counts[0], REACH_PX - 1] + relative[: counts[0], REACH_PX + 1]
    return described, float(np.percentile(next_to, 10))


def _profiles(d: Floats) -> Floats:
    """Return the differences around those that are the largest of five, (edge, 2 * `REACH_PX` + 1)."""
    if d.shape[1] < 2 * REACH_PX + 1:
        return np.zeros((0, 2 * REACH_PX + 1), np.float32)
    near = np.lib.stride_tricks.sliding_window_view(d, 2 * REACH_PX + 1, 1)
    size = np.abs(near)
    peak = size[..., REACH_PX]
    largest = peak > 0
    for offset in (-2, -1, 1, 2):
        largest &= peak >= size[..., REACH_PX + offset]
    profiles = near[largest]
    return profiles[np.isfinite(profiles).all(1)]


def _described(p: Floats) -> Floats:
    """Return quantiles and means of profiles relative to their peak, (edge, 2 * `REACH_PX` + 1)."""
    c = REACH_PX
    sums = [p[:, c - k] + p[:, c + k] for k in (1, 2, 3)]
    five = p[:, c - 2 : c + 3].sum(1)
    share = 1 / np.clip(five, 0.2, 5.0)
    overshoot = np.minimum(p[:, c - 2], p[:, c + 2])
    smaller, larger = np.minimum(p[:, c - 1], p[:, c + 1]), np.maximum(p[:, c - 1], p[:, c + 1])
    quantiles = [
        *(np.percentile(s, SUM_PERCENT) for s in sums),
        np.percentile(smaller, SIDE_PERCENT),
        np.percentile(larger, SIDE_PERCENT),
        np.percentile(share, PEAK_PERCENT),
        np.percentile(overshoot, OVERSHOOT_PERCENT),
    ]
    means = [float(v.mean()) for v in (*sums, overshoot, share)]
    return np.concatenate([*quantiles, means]).astype(np.float32)


# ---- differences and noise ---------------------------------------------------------------


def _differences(lines: Sequence[Floats]) -> Floats:
    """Return autocorrelations of first differences, energies of higher ones, and how sparse they are."""
    first = [np.diff(p, axis=1) for p in lines]
    energy = max(_mean([d * d for d in first]), SMALLEST**2)
    correlations = [_mean([d[:, :-lag] * d[:, lag:] for d in first]) / energy for lag in (1, 2, 3, 4)]
    higher = [_mean([np.diff(p, k, axis=1) ** 2 for p in lines]) / energy for k in (2, 3)]
    sparse = _mean([np.abs(d) for d in first]) ** 2 / energy
    return np.array([*correlations, *np.log(np.array([*higher, sparse]) + SMALLEST)], np.float32)


def _noise(planes: Sequence[Floats]) -> Floats:
    """Return logarithms of quantiles of Immerkaer's (1996) mask, whose response to planes and quadratics is 0."""
    second = (np.diff(np.diff(p, 2, axis=0), 2, axis=1).ravel() / 6 for p in planes)
    values = np.abs(np.concatenate(list(second)))
    values = values[np.isfinite(values)]
    quantiles = np.percentile(values, NOISE_PERCENT) if len(values) else np.zeros(len(NOISE_PERCENT))
    return np.log(quantiles + 1e-4).astype(np.float32)


def _mean(parts: Sequence[Floats]) -> float:
    """Return the mean of the valid values of several arrays."""
    count = sum(int(np.isfinite(p).sum()) for p in parts)
    return float(sum(np.nansum(p, dtype=np.float64) for p in parts)) / max(count, 1)
