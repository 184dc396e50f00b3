"""`dualsr:sample`: a synthetic scene and its guide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputRasterLayer,
    QgsProcessingParameterFolderDestination,
    QgsProcessingUtils,
)

from .algorithm import Algorithm
from .style import style_when_loaded

FOLDER, SCENE, GUIDE = "FOLDER", "SCENE", "GUIDE"


class Sample(Algorithm):
    """Makes a scene of 8 m and a pan image of 2 m, and loads both."""

    def name(self) -> str:
        """Return the name after the colon."""
        return "sample"

    def displayName(self) -> str:
        """Return the title in the toolbox."""
        return "Make a scene to try"

    def shortHelpString(self) -> str:
        """Return the help text of the dialog."""
        return (
            "Makes a scene of 31 bands and 8 m pixels and a panchromatic image of 2 m of the same place, synthetic but "
            "realistic, and loads both.\n\nUse it to check the installation of dualsr-geo, and then to "
            "try Upscale."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """Declare inputs and outputs."""
        self.addParameter(QgsProcessingParameterFolderDestination(FOLDER, "Folder for scene.tif and pan.tif"))
        self.addOutput(QgsProcessingOutputRasterLayer(SCENE, "Scene"))
        self.addOutput(QgsProcessingOutputRasterLayer(GUIDE, "Guide"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Make the two and have QGIS load them."""
        folder = self.parameterAsString(parameters, FOLDER, context)
        scene, guide = self.call(["sample", folder], feedback)[-2:]
        for path in (scene, guide):
            title = Path(path).stem
            details = QgsProcessingContext.LayerDetails(
                title, context.project(), "", QgsProcessingUtils.LayerHint.Raster
            )
            context.addLayerToLoadOnCompletion(path, details)
            style_when_loaded(context, path)
        return {FOLDER: folder, SCENE: scene, GUIDE: guide}
