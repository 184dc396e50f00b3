"""A plot of the transfer function that a scene shows, with its range, and of the assumed one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.scene_blur.estimate import SceneBlur

SIZE = (720, 460)
# Margins left, top, right and bottom, pixels.
MARGINS = (56, 16, 16, 44)
# The axes end here: cycles a pixel of the scene, and gain.
LARGEST_FREQUENCY, LARGEST_GAIN = 1.0, 1.1
SHOWN, RANGE, ASSUMED, INK, GRID = (31, 119, 180), (200, 222, 240), (214, 90, 30), (40, 40, 40), (225, 225, 225)

Curve = NDArray[np.float64]


def plot_blur(blur: SceneBlur | None, assumed: Psf) -> Image.Image:
    """Draw transfer functions against frequency.

    Parameters
    ----------
    blur : SceneBlur or None
        What the scene shows; None where it shows nothing.
    assumed : Psf
        What is assumed.
    """
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    f = np.linspace(0, LARGEST_FREQUENCY, 101)
    _draw_axes(draw)
    if blur is not None:
        ends = [_points(f, _shown(blur, f, blur.width_lr + sign * blur.error_lr)) for sign in (1, -1)]
        draw.polygon([*ends[0], *ends[1][::-1]], fill=RANGE)
        draw.line(_points(f, _shown(blur, f, blur.width_lr)), fill=SHOWN, width=3)
    draw.line(_points(f, _transfer(assumed, f)), fill=ASSUMED, width=3)
    texts = [(ASSUMED, "assumed"), *([] if blur is None else [(SHOWN, "shown by the scene, with its range")])]
    for i, (color, text) in enumerate(texts):
        draw.text((SIZE[0] - 260, 30 + 18 * i), text, fill=color)
    return image


def _shown(blur: SceneBlur, f: Curve, width: float) -> Curve:
    """Return the estimated transfer function, stretched to another width in lr pixels."""
    scaled = f * max(width, 0.0) / max(blur.width_lr, 1e-6)
    return np.interp(scaled, (0.0, *blur.frequencies), (1.0, *blur.transfer))


def _transfer(psf: Psf, f: Curve) -> Curve:
    """Return the transfer function of a PSF along x about its centroid."""
    at = psf.start_x + np.arange(len(psf.taps_x)) - (psf.ratio - 1) / 2 - psf.shift_px[1]
    return np.asarray(np.cos(2 * np.pi * np.outer(f, at) / psf.ratio) @ np.array(psf.taps_x))


def _points(f: Curve, gain: Curve) -> list[tuple[float, float]]:
    """Return a curve in pixels of the image."""
    left, top, right, bottom = MARGINS
    x = left + f / LARGEST_FREQUENCY * (SIZE[0] - left - right)
    y = top + (1 - np.clip(gain, 0, LARGEST_GAIN) / LARGEST_GAIN) * (SIZE[1] - top - bottom)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _draw_axes(draw: ImageDraw.ImageDraw) -> None:
    for gain in (0.0, 0.25, 0.5, 0.75, 1.0):
        ends = _points(np.array([0.0, LARGEST_FREQUENCY]), np.array([gain, gain]))
        draw.line(ends, fill=INK if gain == 0 else GRID)
        draw.text((16, ends[0][1] - 6), f"{gain:.2f}", fill=INK)
    for frequency in (0.0, 0.25, 0.5, 0.75, 1.0):
        ends = _points(np.array([frequency, frequency]), np.array([0.0, LARGEST_GAIN]))
        draw.line(ends, fill=INK if frequency in (0.0, 0.5) else GRID)
        draw.text((ends[0][0] - 12, ends[0][1] + 6), f"{frequency:.2f}", fill=INK)
    draw.text((SIZE[0] // 2 - 150, SIZE[1] - 18), "cycles a pixel of the scene (0.5: Nyquist); up: gain", fill=INK)
