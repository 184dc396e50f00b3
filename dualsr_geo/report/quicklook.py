"""Pictures of cubes to look at: bands that the eye expects, a common stretch, a map for errors."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualsr_geo.raster.bands import Band

Rgba = NDArray[np.uint8]
Limits = NDArray[np.float64]

# Where the eye's red, green and blue lie, and how far off a band may be: Sentinel-2's blue is 30 nm off.
VISIBLE_NM = (640.0, 550.0, 460.0)
NEAR_NM = 45.0
COLORS = ("red", "green", "blue")
# Sixths of a spectrum without visible bands: the middles of its thirds, without its noisy ends.
SPREAD = (5, 3, 1)
PERCENTILES = (2.0, 98.0)

# matplotlib's viridis (CC0) at 17 even places; between them it is linear within 6 of 255.
VIRIDIS = (
    (68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141),
    (44, 114, 142), (38, 130, 142), (33, 145, 140), (31, 160, 136), (40, 174, 128), (63, 188, 115),
    (94, 201, 98), (132, 212, 75), (173, 220, 48), (216, 226, 25), (253, 231, 37),
)  # fmt: skip


def visible_bands(bands: Sequence[Band], count: int) -> tuple[int, ...]:
    """Choose the bands to show as red, green and blue.

    Parameters
    ----------
    bands : sequence of Band
        May say nothing of wavelengths or colours.
    count : int
        Bands of the cube.

    Returns
    -------
    tuple of int
        Three indices from 0: nearest to 640, 550 and 460 nm; else by colour interpretation;
        else three as they are, or three spread over the spectrum, the last as red. One index
        where there are fewer than three bands.
    """
    if count < 3:
        return (0,)
    known = list(bands[:count])
    found = _by_wavelength(known) or _by_color(known)
    return found or (_spread(known, count) if count > 3 else (0, 1, 2))


def _by_wavelength(bands: Sequence[Band]) -> tuple[int, ...] | None:
    known = [(b.wavelength_nm, i) for i, b in enumerate(bands) if b.good and b.wavelength_nm is not None]
    if not known:
        return None
    nearest = [min((abs(at - nm), i) for at, i in known) for nm in VISIBLE_NM]
    chosen = tuple(i for off, i in nearest if off <= NEAR_NM)
    return chosen if len(set(chosen)) == 3 else None


def _by_color(bands: Sequence[Band]) -> tuple[int, ...] | None:
    place = {b.color: i for i, b in reversed(list(enumerate(bands)))}
    return tuple(place[c] for c in COLORS) if all(c in place for c in COLORS) else None


def _spread(bands: Sequence[Band], count: int) -> tuple[int, ...]:
    good = [i for i in range(count) if i >= len(bands) or bands[i].good]
    usable = good if len(good) >= 3 else list(range(count))
    return tuple(usable[s * len(usable) // 6] for s in SPREAD)


def stretch(*cubes: NDArray[np.float32], percentiles: tuple[float, float] = PERCENTILES) -> Limits:
    """Return the values that become black and white, common to all cubes.

    Parameters
    ----------
    *cubes : arrays, each of shape (channel, y, x)
        NaN where nothing is; y and x may differ.
    percentiles : tuple of float
        Of the valid pixels of all cubes together.

    Returns
    -------
    array, shape (channel, 2)
        Low and high; low < high always, and 0, 1 where nothing is valid.
    """
    return np.array([_range([c[k] for c in cubes], percentiles) for k in range(len(cubes[0]))], np.float64)


def _range(channels: Sequence[NDArray[np.float32]], percentiles: tuple[float, float]) -> tuple[float, float]:
    valid = np.concatenate([c[np.isfinite(c)].astype(np.float64) for c in channels])
    if not valid.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(valid, percentiles))
    # A flat picture is shown in mid grey.
    half = 0.0 if high > low else max(abs(low), 1.0) / 2
    return low - half, high + half


def composite(cube: NDArray[np.float32], limits: Limits) -> Rgba:
    """Return a picture of one or three bands.

    Parameters
    ----------
    cube : array, shape (channel, y, x)
        One channel (grey) or three (red, green, blue).
    limits : array, shape (channel, 2)
        From `stretch`.

    Returns
    -------
    array of uint8, shape (y, x, 4)
        Red, green, blue, alpha; alpha is 0 where a channel is NaN.
    """
    low, high = limits[:, :1, None], limits[:, 1:, None]
    there = np.asarray(np.isfinite(cube).all(axis=0), np.bool_)
    scaled = np.clip((np.where(there, cube, low) - low) / (high - low), 0, 1)
    color = np.broadcast_to(_bytes(scaled), (3, *there.shape))
    return np.stack([*color, _alpha(there)], axis=-1)


def heat(values: NDArray[np.floating], low: float, high: float) -> Rgba:
    """Return a map of errors in viridis: even steps look even, in grey and to the colour-blind, too.

    Parameters
    ----------
    values : array, shape (y, x)
        NaN where nothing is known.
    low, high : float
        Values of the darkest and the brightest colour, low < high.

    Returns
    -------
    array of uint8, shape (y, x, 4)
        Alpha is 0 where the value is NaN.
    """
    there: NDArray[np.bool_] = np.isfinite(values)
    scaled = np.clip((np.where(there, values, low) - low) / (high - low), 0, 1)
    places = np.linspace(0, 1, len(VIRIDIS))
    color = [_bytes(np.interp(scaled, places, [c[k] / 255 for c in VIRIDIS])) for k in range(3)]
    return np.stack([*color, _alpha(there)], axis=-1)


def _bytes(scaled: NDArray[np.floating]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.rint(scaled * 255).astype(np.uint8)
    return whole


def _alpha(there: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(there, np.uint8(255), np.uint8(0))


def image(rgba: Rgba, longest: int | None = None) -> Image.Image:
    """Return a picture for Pillow, averaged down where a side is longer than `longest` pixels."""
    picture = Image.fromarray(rgba)
    if longest is not None and max(picture.size) > longest:
        step = max(picture.size) / longest
        width, height = (max(1, round(n / step)) for n in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return picture


def to_png(rgba: Rgba) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    held = io.BytesIO()
    image(rgba).save(held, format="PNG", optimize=True)
    return held.getvalue()


def quicklook(
    cube: NDArray[np.float32], bands: Sequence[Band], limits: Limits | None = None, longest: int = 1024
) -> Image.Image:
    """Return a cube as a picture to look at.

    Parameters
    ----------
    cube : array, shape (band, y, x)
        NaN where nothing is. One or three bands are shown as they are, of more `visible_bands`.
    bands : sequence of Band
        Of the cube.
    limits : array, shape (channel, 2), optional
        From `stretch`, to compare pictures; by default the cube's own.
    longest : int
        Pixels along the longer side at most.

    Returns
    -------
    PIL.Image.Image
        RGBA, transparent where nothing is.
    """
    count = len(cube)
    shown = cube if count in (1, 3) else cube[list(visible_bands(bands, count))]
    return image(composite(shown, stretch(shown) if limits is None else limits), longest)
