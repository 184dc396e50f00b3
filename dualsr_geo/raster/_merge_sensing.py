"""What is known of the instrument that took a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# MTF gains that differ by more are worth a word: one is used for all bands.
GAINS_DIFFER = 0.05


@dataclass(frozen=True)
class Sensing:
    """The instrument of a scene, and how one knows.

    Attributes
    ----------
    sensor : str
        Its name.
    why : str
        How one knows, e.g. ``"as given"``.
    used : bool
        Whether its numbers are used; a mere resemblance is said, no more.
    mtf_gains : tuple of float
        One a band of the scene; empty where none was measured.
    """

    sensor: str
    why: str
    used: bool
    mtf_gains: tuple[float, ...] = ()

    @property
    def mtf_gain(self) -> float | None:
        """One gain for all bands, their median; None where none was measured."""
        return round(float(np.median(self.mtf_gains)), 4) if self.mtf_gains else None

    @property
    def said(self) -> str:
        """A sentence for the user."""
        if not self.used:
            return f"Sensor: {self.why}"
        return f"Sensor {self.sensor}, {self.why}; {self._said_gain}"

    @property
    def _said_gain(self) -> str:
        if not self.mtf_gains:
            return "nobody measured its MTF, so the scene's own estimate decides"
        least, most = min(self.mtf_gains), max(self.mtf_gains)
        differ = f", the median of {least:g} to {most:g}" if most - least > GAINS_DIFFER else ""
        return f"MTF gain {self.mtf_gain:g}{differ}"

    def select(self, indices: Sequence[int]) -> Sensing:
        """Return what is known of some of the bands."""
        return replace(self, mtf_gains=tuple(self.mtf_gains[i] for i in indices) if self.mtf_gains else ())

    def to_json(self) -> dict[str, Any]:
        """Return it for reports."""
        return {
            "name": self.sensor,
            "why": self.why,
            "used": self.used,
            "mtf_gain": self.mtf_gain,
            "mtf_gains": list(self.mtf_gains),
            "said": self.said,
        }
