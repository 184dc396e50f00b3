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
    """Brings the algorithms and the setting."""

    def id(self) -> str:
        """Return the name before the colon in `dualsr:upscale`."""
        return "dualsr"

    def name(self) -> str:
        """Return what the toolbox shows."""
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
        """Take the setting away."""
        setting.remove()

    def loadAlgorithms(self) -> None:
        """Bring the algorithms."""
        for algorithm in (Upscale(), GuideCheck(), Evaluate(), Score(), Sample()):
            self.addAlgorithm(algorithm)

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the suffixes of products; a Zarr is a folder, which QGIS cannot ask for."""
        return ["tif"]
