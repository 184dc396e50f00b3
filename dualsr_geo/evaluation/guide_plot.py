"""A plot of a guide: its displacement as arrows, and where it shows something else than the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dualsr_geo.raster.windows import Window
from dualsr_geo.report.figures import Drawing, arrows, overview
from dualsr_geo.report.quicklook import composite, image, stretch
from dualsr_geo.survey.sampling import sample_windows
from dualsr_geo.survey.survey import Survey

# Longer side of the plot, pixels.
PLOT_PX = 900
# Arrows along either axis.
ARROWS = 9
ARROW_COLOR = (255, 220, 0)
# Opacity of red, of 255, where the guide is not used at all.
CHANGED_OPACITY = 160


def plot_guide(
    shape: tuple[int, int],
    ratio: int,
    survey: Survey,
    guides: Sequence[NDArray[np.float32]],
    use: Sequence[NDArray[np.float32]],
) -> Image.Image:
    """Draw the guide in the sample of a survey, red where it is not used, and arrows of its displacement.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    ratio : int
    survey : Survey
    guides : sequence of array, shape (guide band, ratio * y, ratio * x)
        In each of `sample_windows`.
    use : sequence of array, shape (y, x)
        How far the guide is used, 0..1; NaN where it does not reach.
    """
    rows, columns = (n * ratio for n in shape)
    step = max(rows, columns) / PLOT_PX
    canvas = Image.new("RGB", (max(1, round(columns / step)), max(1, round(rows / step))), "white")
    channels = [0, 1, 2] if len(guides[0]) >= 3 else [0]
    limits = stretch(*(guide[channels] for guide in guides))
    for window, guide, used in zip(sample_windows(shape), guides, use, strict=True):
        picture = image(composite(guide[channels], limits))
        opacity = (CHANGED_OPACITY * (1 - np.nan_to_num(used, nan=1.0))).astype(np.uint8)
        picture.paste((255, 0, 0, 255), mask=Image.fromarray(opacity).resize(picture.size))
        _paste(canvas, picture, window.scaled(ratio), step)
    _draw_arrows(canvas, survey, overview(guides[0]))
    return canvas


def _paste(canvas: Image.Image, picture: Image.Image, window: Window, step: float) -> None:
    """Paste the picture of a window (hr pixels), `step` of which are one pixel of the canvas."""
    height, width = (max(1, round(n / step)) for n in window.shape)
    small = picture.resize((width, height), Image.Resampling.BOX)
    canvas.paste(small, (round(window.x0 / step), round(window.y0 / step)), small)


def _draw_arrows(canvas: Image.Image, survey: Survey, on: Drawing) -> None:
    """Draw the displacement of the guide at a grid of places, and the scale of the arrows below."""
    shares = [float(s) for s in (np.arange(ARROWS) + 0.5) / ARROWS]
    drawn = arrows([(y, x, *_displacement(survey, y, x)) for y in shares for x in shares], on)
    if drawn is None:
        return
    draw, scale = ImageDraw.Draw(canvas), canvas.width / on.width
    for x0, y0, x1, y1 in drawn.lines:
        draw.line([(x0 * scale, y0 * scale), (x1 * scale, y1 * scale)], fill=ARROW_COLOR, width=2)
        draw.ellipse([x0 * scale - 3, y0 * scale - 3, x0 * scale + 3, y0 * scale + 3], fill=ARROW_COLOR)
    end = 10 + drawn.scale_length * scale
    draw.line([(10, canvas.height - 10), (end, canvas.height - 10)], fill=ARROW_COLOR, width=3)
    draw.text((end + 6, canvas.height - 16), f"{drawn.scale_px:g} px", fill=ARROW_COLOR)


def _displacement(survey: Survey, y: float, x: float) -> tuple[float, float]:
    """Return the displacement (y, x), hr pixels, at a place given as shares of the scene."""
    (dy, dx), field = survey.placement.shift_px, survey.displacement
    if field is None:
        return dy, dx
    row, column = (min(int(share * n), n - 1) for share, n in zip((y, x), field.shape, strict=True))
    field_dy, field_dx = field.at(Window(row, row + 1, column, column + 1))[:, 0, 0].tolist()
    return field_dy + dy, field_dx + dx
