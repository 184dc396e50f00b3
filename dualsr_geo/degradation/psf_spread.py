"""How far the blur and the shift of a scene differ from place to place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dualsr_geo.degradation.psf import Psf

# The narrowest width of a blur, lr pixels.
MIN_WIDTH_LR = 0.05

Pair = tuple[float, float]


@dataclass(frozen=True)
class PsfSpread:
    """Standard deviations of the blur's width and of the guide's shift over a scene, beyond errors of estimation.

    Attributes
    ----------
    sigma_px, shift_px : (float, float)
        Along y and x, hr pixels.
    """

    sigma_px: Pair
    shift_px: Pair

    def contrasts(self, psf: Psf) -> Iterator[tuple[Psf, Psf]]:
        """Yield two PSFs for each of the four quantities: larger and smaller by its standard deviation."""
        (sy, sx), (dy, dx), least = psf.sigma_px, psf.shift_px, MIN_WIDTH_LR * psf.ratio
        for y, x in ((self.sigma_px[0], 0.0), (0.0, self.sigma_px[1])):
            if y or x:
                wide, narrow = (sy + y, sx + x), (max(sy - y, least), max(sx - x, least))
                yield tuple(Psf.gaussian(psf.ratio, s, (dy, dx)) for s in (wide, narrow))  # type: ignore[misc]
        for y, x in ((self.shift_px[0], 0.0), (0.0, self.shift_px[1])):
            if y or x:
                moved = ((dy + y, dx + x), (dy - y, dx - x))
                yield tuple(Psf.gaussian(psf.ratio, (sy, sx), d) for d in moved)  # type: ignore[misc]
