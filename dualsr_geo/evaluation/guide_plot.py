"""A plot of a guide: its displacement as arrows, and where it shows something else than the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dualsr_geo.raster.windows import Window
from dualsr_geo.report.figures import Drawing, arrows, overview
from dualsr_geo.report.quicklook import composite, image, stretch
from dualsr_geo.surveying.sampling import sample_windows
from dualsr_geo.surveying.survey import Survey

# Longer side of the plot, pixels.
PLOT_PX = 900
# Arrows along either axis.
ARROWS = 9
ARROW_COLOR = (255, 220, 0)
# Opacity of red, of 255, where the guide is not used at all.
CHANGED_OPACITY = 160
WHITE = (255, 255, 255)
# Height of a line of text, its font, the side of a colour of the key, and the margin, pixels.
LINE_PX, FONT_PX, KEY_PX, MARGIN_PX = 26, 15, 12, 8
# Width that the longest line needs, pixels.
KEY_WIDTH_PX = 520
TITLE = "The guide where it was sampled, and how it fits the scene"
# Colours and what they mean.
KEY = (
    ((255, 80, 80), "red: it disagrees with the scene and is not used there"),
    (WHITE, "white: not sampled, or not covered by the guide"),
)


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
    scale_px, length = _draw_arrows(canvas, survey, overview(guides[0]))
    return _with_key(canvas, survey, scale_px, length)


def _paste(canvas: Image.Image, picture: Image.Image, window: Window, step: float) -> None:
    """Paste the picture of a window (hr pixels), `step` of which are one pixel of the canvas."""
    height, width = (max(1, round(n / step)) for n in window.shape)
    small = picture.resize((width, height), Image.Resampling.BOX)
    canvas.paste(small, (round(window.x0 / step), round(window.y0 / step)), small)


def _draw_arrows(canvas: Image.Image, survey: Survey, on: Drawing) -> tuple[float, float]:
    """Draw the displacement of the guide where the guide is; return a length of arrows in hr pixels and of the canvas.

    One arrow stands for a guide that is displaced as a whole.
    """
    count = ARROWS if survey.displacement is not None else 1
    shares = [float(s) for s in (np.arange(count) + 0.5) / count]
    drawn = arrows([(y, x, *_displacement(survey, y, x)) for y in shares for x in shares], on)
    if drawn is None:
        return 0.0, 0.0
    draw, scale = ImageDraw.Draw(canvas), canvas.width / on.width
    for x0, y0, x1, y1 in drawn.lines:
        start = int(min(x0 * scale, canvas.width - 1)), int(min(y0 * scale, canvas.height - 1))
        if count > 1 and canvas.getpixel(start) == WHITE:
            continue
        draw.line([(x0 * scale, y0 * scale), (x1 * scale, y1 * scale)], fill=ARROW_COLOR, width=3)
        draw.ellipse([x0 * scale - 4, y0 * scale - 4, x0 * scale + 4, y0 * scale + 4], fill=ARROW_COLOR)
    return drawn.scale_px, drawn.scale_length * scale


def _with_key(canvas: Image.Image, survey: Survey, scale_px: float, length: float) -> Image.Image:
    """Return a picture with a title above, and below what colours and arrows mean."""
    width = max(canvas.width, KEY_WIDTH_PX)
    page = Image.new("RGB", (width, canvas.height + 5 * LINE_PX), WHITE)
    page.paste(canvas, (0, LINE_PX))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_PX)
    draw.text((MARGIN_PX, 4), TITLE, fill="black", font=font)
    top = canvas.height + LINE_PX
    kind = "its displacement" if survey.displacement is not None else "its displacement, the same everywhere"
    if length:
        middle = top + LINE_PX // 2
        draw.line([(MARGIN_PX, middle), (MARGIN_PX + length, middle)], fill=ARROW_COLOR, width=4)
        draw.text((MARGIN_PX + length + 8, top + 4), f"{scale_px:g} px of the product", fill="black", font=font)
    for line, (color, text) in enumerate(((ARROW_COLOR, f"arrow: {kind}"), *KEY), 1):
        y = top + line * LINE_PX
        draw.rectangle([MARGIN_PX, y + 6, MARGIN_PX + KEY_PX, y + 6 + KEY_PX], fill=color, outline="black")
        draw.text((MARGIN_PX + KEY_PX + 8, y + 4), text, fill="black", font=font)
    return page


def _displacement(survey: Survey, y: float, x: float) -> tuple[float, float]:
    """Return the displacement (y, x), hr pixels, at a place given as shares of the scene."""
    (dy, dx), field = survey.placement.shift_px, survey.displacement
    if field is None:
        return dy, dx
    row, column = (min(int(share * n), n - 1) for share, n in zip((y, x), field.shape, strict=True))
    field_dy, field_dx = field.at(Window(row, row + 1, column, column + 1))[:, 0, 0].tolist()
    return field_dy + dy, field_dx + dx
