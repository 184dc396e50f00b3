"""The icon and the help page of the plugin."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QIcon

HERE = Path(__file__).parent


def icon() -> QIcon:
    """Return the plugin's icon."""
    return QIcon(str(HERE / "icon.svg"))


def help_page() -> str:
    """Return the address of the help page, which `package.py` puts into the plugin."""
    return QUrl.fromLocalFile(str(HERE / "help" / "index.html")).toString()
