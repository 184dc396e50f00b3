"""The plugin that QGIS loads: it adds the provider, and warns if the command is not installed."""

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
        """Add the provider."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the provider, and check that the command is installed."""
        self.initProcessing()
        try:
            program()
        except CommandError as error:
            self._say(str(error).splitlines()[0])

    def unload(self) -> None:
        """Remove the provider."""
        QgsApplication.processingRegistry().removeProvider(self.provider)

    def _say(self, text: str) -> None:
        bar = self.iface.messageBar()
        item = bar.createMessage("dualsr-geo", text)
        button = QPushButton("How to install it")
        button.clicked.connect(lambda: self.iface.openURL(help_page(), False))
        item.layout().addWidget(button)
        bar.pushWidget(item, Qgis.MessageLevel.Warning)
