"""How far a run is, from the lines that `dualsr-geo --log-json -` writes (docs/scale.md)."""

from __future__ import annotations

import json
from typing import Any

OPTIONS = ("--log-json", "-")
# Shares of a run, in percent: the survey before the tiles, writing the product after them.
BEFORE, AFTER = 10.0, 90.0


class Progress:
    """Tells QGIS how far a run is.

    Parameters
    ----------
    feedback : QgsProcessingFeedback
    """

    def __init__(self, feedback: Any) -> None:
        self.feedback = feedback

    def hear(self, line: str) -> bool:
        """Take a line; return whether it was one about progress."""
        try:
            told = json.loads(line)
        except ValueError:
            return False
        if not isinstance(told, dict) or "event" not in told:
            return False
        event = told["event"]
        if event == "scene started":
            self._say(0.0, "Surveying the scene")
        elif event == "scene surveyed":
            self._say(BEFORE, f"Sharpening it, {told['tiles']} tiles")
        elif event == "tile done":
            self._tile(told["done"], told["tiles"])
        return True

    def _tile(self, done: int, total: int) -> None:
        self.feedback.setProgress(BEFORE + (AFTER - BEFORE) * done / total)
        if done == total:
            self._say(AFTER, "Writing the product")

    def _say(self, percent: float, text: str) -> None:
        self.feedback.setProgressText(text)
        self.feedback.setProgress(percent)
