"""Dates of acquisition of a scene and its guides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dualsr_geo.raster.scene import Scene

TAG = "ACQUISITION"


def describe_dates(scene: Scene, guides: Sequence[Scene]) -> tuple[str, ...]:
    """Return sentences about guides of another day than the scene; none where a day is not known.

    Parameters
    ----------
    scene : Scene
    guides : sequence of Scene
    """
    own = _day(scene)
    days = dict.fromkeys(_day(g) for g in guides)
    return tuple(
        f"The guide was acquired on {day}, the scene on {own}." for day in days if None not in (own, day) and day != own
    )


def _day(scene: Scene) -> date | None:
    """Return the day in the tag ACQUISITION, of ISO 8601."""
    try:
        return date.fromisoformat(scene.tags.get("", {}).get(TAG, "")[: len("2017-03-16")])
    except ValueError:
        return None
