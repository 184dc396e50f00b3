"""Sharpen scenes in QGIS: a Processing provider that calls the installed `dualsr-geo`."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # QGIS's own name and types
    """Return the plugin; QGIS calls this."""
    from .plugin import Plugin  # noqa: PLC0415  # modules without QGIS can then be imported outside QGIS

    return Plugin(iface)
