"""The displacement of a guide in words: one convention of signs for every output."""

from __future__ import annotations

# Displacements below this, pixels of the product, are written as none.
SMALLEST_SHIFT_PX = 0.05

Pair = tuple[float, float]


def describe_shift(shift_px: Pair, error_px: Pair | None = None) -> str:
    """Return where a guide was, against its scene.

    Parameters
    ----------
    shift_px : (float, float)
        By how much the guide shows objects below and to the right of where the scene shows them, hr pixels.
    error_px : (float, float) or None
        Standard errors, hr pixels.

    Returns
    -------
    str
        For example ``8.0 px too low and 2.8 px too far left (+-0.1 px)``.
    """
    down, right = shift_px
    parts = [
        f"{abs(value):.1f} px {positive if value > 0 else negative}"
        for value, positive, negative in (
            (down, "too low", "too high"),
            (right, "too far right", "too far left"),
        )
        if abs(value) >= SMALLEST_SHIFT_PX
    ]
    place = " and ".join(parts) or "in place"
    return place if error_px is None else f"{place} (+-{max(error_px):.1g} px)"


def describe_move(shift_px: Pair, moved_px: Pair, error_px: Pair | None = None) -> str:
    """Return where a guide was, and what was done about that.

    Parameters
    ----------
    shift_px, error_px
        As for `describe_shift`.
    moved_px : (float, float)
        The part of the shift that is undone, hr pixels.
    """
    place = describe_shift(shift_px, error_px)
    if max(map(abs, moved_px)) >= SMALLEST_SHIFT_PX:
        return f"lay {place} and was moved back"
    if max(map(abs, shift_px)) < SMALLEST_SHIFT_PX:
        return f"was {place}"
    return f"lay {place} and was not moved"
