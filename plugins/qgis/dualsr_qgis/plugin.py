"""What QGIS loads: it brings the provider, and says at once if the command is not installed."""

from __future__ import annotations

from typing import Any

from qgis.core import Qgis, QgsApplication
from qgis.PyQt.QtWidgets import QPushButton

from .command import CommandError
from .pages import help_page
from .provider import Provider
from .setting import program


class Plugin:
    """The plugin, in the main window or in qgis_process, which has none."""

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider = None

    def initProcessing(self) -> None:
        """Bring the provider."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Bring the provider, and check that there is something to call."""
        self.initProcessing()
        try:
            program()
        except CommandError as error:
            self._say(str(error).splitlines()[0])

    def unload(self) -> None:
        """Take the provider away."""
        QgsApplication.processingRegistry().removeProvider(self.provider)

    def _say(self, text: str) -> None:
        bar = self.iface.messageBar()
        item = bar.createMessage("dualsr-geo", text)
        button = QPushButton("How to install it")
        button.clicked.connect(lambda: self.iface.openURL(help_page(), False))
        item.layout().addWidget(button)
        bar.pushWidget(item, Qgis.Warning)
