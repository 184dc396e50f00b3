"""Progress of a run, from the lines of `dualsr-geo --log-json -` (docs/scale.md)."""

from __future__ import annotations

import json
from typing import Any

OPTIONS = ("--log-json", "-")
# Shares of a run, in percent: the survey before the tiles, writing the product after them.
BEFORE, AFTER = 10.0, 90.0


class Progress:
    """Reports the progress of a run to QGIS.

    Parameters
    ----------
    feedback : QgsProcessingFeedback
    """

    def __init__(self, feedback: Any) -> None:
        self.feedback = feedback

    def hear(self, line: str) -> bool:
        """Read a line; return whether it is about progress."""
        try:
            record = json.loads(line)
        except ValueError:
            return False
        if not isinstance(record, dict) or "event" not in record:
            return False
        event = record["event"]
        if event == "scene started":
            self._say(0.0, "Surveying the scene")
        elif event == "scene surveyed":
            self._say(BEFORE, f"Sharpening {record['tiles']} tiles")
        elif event == "tile done":
            self._tile(record["done"], record["tiles"])
        return True

    def _tile(self, done: int, total: int) -> None:
        self.feedback.setProgress(BEFORE + (AFTER - BEFORE) * done / total)
        if done == total:
            self._say(AFTER, "Writing the product")

    def _say(self, percent: float, text: str) -> None:
        self.feedback.setProgressText(text)
        self.feedback.setProgress(percent)
