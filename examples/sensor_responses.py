"""Draw the spectral responses of all sensors: `python examples/sensor_responses.py docs/images`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from dualsr_geo.sensors import Sensor, sensors

# More bands than this cannot be distinguished in a strip of 8 inches.
MAX_DISTINCT_BANDS = 40
STRIP_INCHES = 0.62
# Bands of longer waves are outside the figures.
THERMAL_NM = 3000
# Range of the colours, nm.
VISIBLE_NM = (380.0, 720.0)


def draw(shown: Sequence[Sensor], path: Path, span_nm: tuple[float, float]) -> None:
    """Draw a strip for each sensor, a curve for each band; grey where the atmosphere absorbs the signal."""
    size = (9, STRIP_INCHES * len(shown) + 0.5)
    figure, axes = plt.subplots(len(shown), 1, sharex=True, figsize=size, squeeze=False, layout="constrained")
    for axis, sensor in zip(axes[:, 0], shown, strict=True):
        strip(axis, sensor)
    axes[-1, 0].set_xlim(*span_nm)
    axes[-1, 0].set_xlabel("wavelength, nm")
    figure.savefig(path, dpi=90)
    plt.close(figure)
    # 64 colours are a third of the bytes.
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def strip(axis: Axes, sensor: Sensor) -> None:
    """Draw one sensor."""
    many = len(sensor.bands) > MAX_DISTINCT_BANDS
    for low, high in sensor.bad_windows_nm:
        axis.axvspan(low, high, color="0.9", lw=0)
    for i, band in enumerate(sensor.bands):
        nm, response = sensor.response(i)
        colour = shade(band.wavelength_nm)
        axis.plot(nm, response, color=colour, lw=0.3 if many else 1.0)
        if not many:
            axis.fill_between(nm, response, color=colour, alpha=0.2, lw=0)
    axis.set(ylim=(0, 1.08), yticks=())
    axis.set_ylabel(sensor.name, rotation=0, ha="right", va="center", fontsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)


def shade(nm: float) -> tuple[float, float, float, float]:
    """Return a colour for a wavelength; outside the visible range the nearest one."""
    low, high = VISIBLE_NM
    colour: tuple[float, float, float, float] = plt.get_cmap("turbo")(min(max((nm - low) / (high - low), 0.0), 1.0))
    return colour


def main() -> None:
    """Draw two figures: sensors of few bands, and spectrometers."""
    place = Path(sys.argv[1])
    everything = [s for s in sensors().values() if s.bands[0].wavelength_nm < THERMAL_NM]
    draw([s for s in everything if len(s.bands) <= MAX_DISTINCT_BANDS], place / "srf_bands.png", (340, 2500))
    draw([s for s in everything if len(s.bands) > MAX_DISTINCT_BANDS], place / "srf_spectrometers.png", (340, 2580))


if __name__ == "__main__":
    main()
