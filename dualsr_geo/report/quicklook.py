"""Images of cubes for the eye: visible bands, a common stretch, a colour map for errors."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualsr_geo.raster.bands import Band

Rgba = NDArray[np.uint8]
Limits = NDArray[np.float64]

# Wavelengths of red, green and blue, and the largest distance of a band from them: Sentinel-2's blue is 30 nm off.
VISIBLE_NM = (640.0, 550.0, 460.0)
MAX_DISTANCE_NM = 45.0
COLORS = ("red", "green", "blue")
# Sixths of a spectrum without visible bands that are shown: the middles of its thirds, without its noisy ends.
SPECTRUM_SIXTHS = (5, 3, 1)
STRETCH_PERCENTILES = (2.0, 98.0)

# matplotlib's viridis (CC0) at 17 even steps; linear interpolation between them is off by less than 6 of 255.
VIRIDIS = (
    (68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141),
    (44, 114, 142), (38, 130, 142), (33, 145, 140), (31, 160, 136), (40, 174, 128), (63, 188, 115),
    (94, 201, 98), (132, 212, 75), (173, 220, 48), (216, 226, 25), (253, 231, 37),
)  # fmt: skip


def visible_bands(bands: Sequence[Band], count: int) -> tuple[int, ...]:
    """Return the bands to show as red, green and blue.

    Parameters
    ----------
    bands : sequence of Band
        Wavelengths and colours may be unknown.
    count : int
        Bands of the cube.

    Returns
    -------
    tuple of int
        Three indices from 0: nearest to 640, 550 and 460 nm; else by colour interpretation;
        else the only three, or three spread over the spectrum, the last as red. One index
        if there are fewer than three bands.
    """
    if count < 3:
        return (0,)
    bands = list(bands[:count])
    chosen = _by_wavelength(bands) or _by_color(bands)
    return chosen or (_spread(bands, count) if count > 3 else (0, 1, 2))


def _by_wavelength(bands: Sequence[Band]) -> tuple[int, ...] | None:
    wavelengths = [(b.wavelength_nm, i) for i, b in enumerate(bands) if b.good and b.wavelength_nm is not None]
    if not wavelengths:
        return None
    nearest = [min((abs(band_nm - nm), i) for band_nm, i in wavelengths) for nm in VISIBLE_NM]
    chosen = tuple(i for distance, i in nearest if distance <= MAX_DISTANCE_NM)
    return chosen if len(set(chosen)) == 3 else None


def _by_color(bands: Sequence[Band]) -> tuple[int, ...] | None:
    first = {b.color: i for i, b in reversed(list(enumerate(bands)))}
    return tuple(first[c] for c in COLORS) if all(c in first for c in COLORS) else None


def _spread(bands: Sequence[Band], count: int) -> tuple[int, ...]:
    good = [i for i in range(count) if i >= len(bands) or bands[i].good]
    usable = good if len(good) >= 3 else list(range(count))
    return tuple(usable[s * len(usable) // 6] for s in SPECTRUM_SIXTHS)


def stretch(*cubes: NDArray[np.float32], percentiles: tuple[float, float] = STRETCH_PERCENTILES) -> Limits:
    """Return the values to show as black and white, common to all cubes.

    Parameters
    ----------
    *cubes : arrays, each of shape (channel, y, x)
        NaN where there is no value; y and x may differ.
    percentiles : tuple of float
        Of the valid pixels of all cubes together.

    Returns
    -------
    array, shape (channel, 2)
        Low and high, always low < high; 0 and 1 if no pixel is valid.
    """
    return np.array([_range([c[k] for c in cubes], percentiles) for k in range(len(cubes[0]))], np.float64)


def _range(channels: Sequence[NDArray[np.float32]], percentiles: tuple[float, float]) -> tuple[float, float]:
    valid = np.concatenate([c[np.isfinite(c)].astype(np.float64) for c in channels])
    if not valid.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(valid, percentiles))
    # A flat image is shown in mid grey.
    half = 0.0 if high > low else max(abs(low), 1.0) / 2
    return low - half, high + half


def composite(cube: NDArray[np.float32], limits: Limits) -> Rgba:
    """Return an image of one or three bands.

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
    valid = np.asarray(np.isfinite(cube).all(axis=0), np.bool_)
    scaled = np.clip((np.where(valid, cube, low) - low) / (high - low), 0, 1)
    color = np.broadcast_to(_bytes(scaled), (3, *valid.shape))
    return np.stack([*color, _alpha(valid)], axis=-1)


def heat(values: NDArray[np.floating], low: float, high: float) -> Rgba:
    """Return a map of errors in viridis, whose equal steps look equal, also in grey and to the colour-blind.

    Parameters
    ----------
    values : array, shape (y, x)
        NaN where unknown.
    low, high : float
        Values of the darkest and the brightest colour, low < high.

    Returns
    -------
    array of uint8, shape (y, x, 4)
        Alpha is 0 where the value is NaN.
    """
    valid: NDArray[np.bool_] = np.isfinite(values)
    scaled = np.clip((np.where(valid, values, low) - low) / (high - low), 0, 1)
    steps = np.linspace(0, 1, len(VIRIDIS))
    color = [_bytes(np.interp(scaled, steps, [c[k] / 255 for c in VIRIDIS])) for k in range(3)]
    return np.stack([*color, _alpha(valid)], axis=-1)


def _bytes(scaled: NDArray[np.floating]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.rint(scaled * 255).astype(np.uint8)
    return rounded


def _alpha(valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(valid, np.uint8(255), np.uint8(0))


def image(rgba: Rgba, longest: int | None = None) -> Image.Image:
    """Return a Pillow image, averaged down if its longer side exceeds `longest` pixels."""
    picture = Image.fromarray(rgba)
    if longest is not None and max(picture.size) > longest:
        step = max(picture.size) / longest
        width, height = (max(1, round(n / step)) for n in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return picture


def to_png(rgba: Rgba) -> bytes:
    """Return an image as the bytes of a PNG file."""
    file = io.BytesIO()
    image(rgba).save(file, format="PNG", optimize=True)
    return file.getvalue()


def quicklook(
    cube: NDArray[np.float32], bands: Sequence[Band], limits: Limits | None = None, longest: int = 1024
) -> Image.Image:
    """Return a cube as an image.

    Parameters
    ----------
    cube : array, shape (band, y, x)
        NaN where there is no value. One or three bands are shown as they are, of more the `visible_bands`.
    bands : sequence of Band
        Of the cube.
    limits : array, shape (channel, 2), optional
        From `stretch`, to compare images; by default the cube's own.
    longest : int
        Pixels along the longer side at most.

    Returns
    -------
    PIL.Image.Image
        RGBA, transparent where there is no value.
    """
    count = len(cube)
    channels = cube if count in (1, 3) else cube[list(visible_bands(bands, count))]
    return image(composite(channels, stretch(channels) if limits is None else limits), longest)
