"""The provider: dualsr-geo in the Processing toolbox."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import setting
from .evaluate import Evaluate, Score
from .guide_check import GuideCheck
from .pages import icon
from .sample import Sample
from .upscale import Upscale


class Provider(QgsProcessingProvider):
    """Adds the algorithms and the setting."""

    def id(self) -> str:
        """Return the name before the colon in `dualsr:upscale`."""
        return "dualsr"

    def name(self) -> str:
        """Return the title in the toolbox."""
        return setting.GROUP

    def icon(self) -> QIcon:
        """Return the icon."""
        return icon()

    def load(self) -> bool:
        """Add the setting and the algorithms."""
        setting.add()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Remove the setting."""
        setting.remove()

    def loadAlgorithms(self) -> None:
        """Add the algorithms."""
        for algorithm in (Upscale(), GuideCheck(), Evaluate(), Score(), Sample()):
            self.addAlgorithm(algorithm)

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the suffixes of products; a Zarr is a folder, which QGIS cannot select as an output."""
        return ["tif"]
