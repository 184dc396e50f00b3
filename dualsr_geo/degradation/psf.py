"""The point spread function of a sensor."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dualsr_geo.argument_types import number
from dualsr_geo.errors import OptionError, excerpt

# MTF gain at the lr Nyquist frequency where nothing else is known: typical of optical sensors, and the usual assumption
# of the Wald protocol (Aiazzi et al., 2006).
DEFAULT_MTF_GAIN = 0.3
# A file of a PSF with more bytes, or an axis with more taps, is none: 32 lr pixels at ratio 32 are 1024 taps.
MAX_FILE_BYTES = 2**20
MAX_TAPS = 4096


@dataclass(frozen=True)
class Psf:
    """A separable point spread function on the hr grid.

    The lr pixel `i` is ``sum_k taps[k] * hr[ratio * i + start + k]`` along each axis.

    Attributes
    ----------
    ratio : int
        GSD lr / GSD hr.
    taps_y, taps_x : tuple of float
        Each sums to 1.
    start_y, start_x : int
        Position of the first tap, hr pixels, relative to the first hr pixel within the lr pixel.
    """

    ratio: int
    taps_y: tuple[float, ...]
    taps_x: tuple[float, ...]
    start_y: int
    start_x: int

    @classmethod
    def gaussian(cls, ratio: int, sigma_px: tuple[float, float], shift_px: tuple[float, float] = (0.0, 0.0)) -> Psf:
        """Return a Gaussian PSF.

        Parameters
        ----------
        ratio : int
            GSD lr / GSD hr.
        sigma_px : (float, float)
            Standard deviation along y and x, hr pixels.
        shift_px : (float, float)
            Shift of the lr pixel's centre, downwards and to the right, hr pixels.
        """
        taps, starts = zip(*map(_gaussian_taps, (ratio, ratio), sigma_px, shift_px), strict=True)
        return cls(ratio, taps[0], taps[1], starts[0], starts[1])

    @classmethod
    def from_mtf(cls, ratio: int, gain: float = DEFAULT_MTF_GAIN) -> Psf:
        """Return the Gaussian PSF with this MTF gain at the lr Nyquist frequency.

        Raises
        ------
        OptionError
            Unless 0 < gain < 1.
        """
        gain = number("gain", gain)
        if not 0 < gain < 1:
            raise OptionError(f"An MTF gain at Nyquist of {gain:g} is not between 0 and 1. Give e.g. 0.3.")
        sigma = ratio / math.pi * math.sqrt(-2 * math.log(gain))
        return cls.gaussian(ratio, (sigma, sigma))

    @property
    def shift_px(self) -> tuple[float, float]:
        """Centroid relative to the lr pixel's centre (y, x), hr pixels."""
        return (
            _centroid(self.taps_y, self.start_y) - (self.ratio - 1) / 2,
            _centroid(self.taps_x, self.start_x) - (self.ratio - 1) / 2,
        )

    @property
    def sigma_px(self) -> tuple[float, float]:
        """Standard deviation of the taps (y, x), hr pixels."""
        return _spread(self.taps_y, self.start_y), _spread(self.taps_x, self.start_x)

    @property
    def reach_lr(self) -> int:
        """How many lr pixels beyond its own an observation depends on."""
        ends = (
            -self.start_y,
            -self.start_x,
            self.start_y + len(self.taps_y) - self.ratio,
            self.start_x + len(self.taps_x) - self.ratio,
        )
        return math.ceil(max(0, *ends) / self.ratio)

    @property
    def gain(self) -> float:
        """Factor from the standard deviation of white noise on the hr grid to that of the degraded noise."""
        return float(np.linalg.norm(self.taps_y) * np.linalg.norm(self.taps_x))

    def to_json(self) -> dict[str, Any]:
        """Return the PSF as it is stored in a file for `--psf`; `from_json` is the inverse."""
        return {
            "ratio": self.ratio,
            "taps_y": list(self.taps_y),
            "taps_x": list(self.taps_x),
            "start_y": self.start_y,
            "start_x": self.start_x,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Psf:
        """Return the PSF of a mapping as `to_json` returns it.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is another mapping: the ratio or a start is no integer, or a tap is no finite number.
        """
        return cls(
            _integer(value, "ratio"),
            _taps(value, "taps_y"),
            _taps(value, "taps_x"),
            _integer(value, "start_y"),
            _integer(value, "start_x"),
        )


def read_psf(path: str | os.PathLike[str]) -> Psf:
    """Read the PSF of a JSON file, as `Psf.to_json` returns it.

    Raises
    ------
    OptionError
        If the file is no regular one, has more than `MAX_FILE_BYTES`, or holds no PSF.
    """
    _require_small_file(path)
    try:
        return Psf.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except KeyError as error:
        raise _no_psf(path, f"it has no {error.args[0]}") from error
    except RecursionError as error:
        raise _no_psf(path, "it is nested too deeply") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _no_psf(path, excerpt(str(error))) from error


def _require_small_file(path: str | os.PathLike[str]) -> None:
    file = Path(path)
    if file.exists() and not file.is_file():
        raise _no_psf(path, "it is no regular file")
    if file.is_file() and (size := file.stat().st_size) > MAX_FILE_BYTES:
        raise _no_psf(path, f"it has {size} bytes, more than {MAX_FILE_BYTES}")


def _no_psf(path: str | os.PathLike[str], reason: str) -> OptionError:
    return OptionError(f"--psf {path} is no PSF: {reason}. Give JSON with ratio, taps_y, taps_x, start_y, start_x.")


def _integer(value: Mapping[str, Any], name: str) -> int:
    number = value[name]
    if isinstance(number, bool) or not isinstance(number, int | float) or not float(number).is_integer():
        raise ValueError(f"{name} is {excerpt(number)}, no integer")
    return int(number)


def _taps(value: Mapping[str, Any], name: str) -> tuple[float, ...]:
    taps = value[name]
    if not isinstance(taps, list | tuple) or not 0 < len(taps) <= MAX_TAPS:
        raise ValueError(f"{name} is no list of 1 to {MAX_TAPS} numbers")
    for tap in taps:
        if isinstance(tap, bool) or not isinstance(tap, int | float) or not math.isfinite(tap):
            raise ValueError(f"{name} holds {excerpt(tap)}, no finite number")
    return tuple(map(float, taps))


# Searches move along one axis at a time.
@lru_cache(maxsize=16)
def _gaussian_taps(ratio: int, sigma: float, shift: float) -> tuple[tuple[float, ...], int]:
    centre = (ratio - 1) / 2 + shift
    half = math.ceil(4 * sigma) + 1
    position = np.arange(math.floor(centre) - half, math.floor(centre) + half + 2)
    square = ((position - centre) / max(sigma, 1e-3)) ** 2
    # Relative to the nearest tap: of a very narrow Gaussian all weights are 0 otherwise.
    weights = np.exp(-0.5 * (square - square.min()))
    weights /= weights.sum()
    used = np.flatnonzero(weights > 1e-9)
    first, last = used[0], used[-1] + 1
    taps = weights[first:last] / weights[first:last].sum()
    return tuple(taps.tolist()), int(position[first])


def _centroid(taps: tuple[float, ...], start: int) -> float:
    return float(np.dot(taps, np.arange(start, start + len(taps))))


def _spread(taps: tuple[float, ...], start: int) -> float:
    distance = np.arange(start, start + len(taps)) - _centroid(taps, start)
    return math.sqrt(max(float(np.dot(taps, distance**2)), 0.0))
