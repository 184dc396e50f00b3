"""`dualsr:guidecheck`: how a guide lies on a scene, before anything is sharpened."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterFileDestination,
)

from .algorithm import Algorithm

PLOT = "PLOT"


class GuideCheck(Algorithm):
    """Says how a guide fits a scene."""

    def name(self) -> str:
        """Return the name after the colon."""
        return "guidecheck"

    def displayName(self) -> str:
        """Return what the toolbox shows."""
        return "Guide check (does this image fit the scene?)"

    def shortHelpString(self) -> str:
        """Return what stands beside the dialog."""
        return (
            "Says, without making a product, how far the guide covers the scene, by how many pixels it is displaced "
            "and how sure that is, how much sharper it is, how much of the bands it explains, and how much of it shows "
            "something else; and what to do about it. The picture shows where."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """Declare inputs and outputs."""
        self.add_pair(alone=False)
        self.add_further()
        plot = QgsProcessingParameterFileDestination(
            PLOT, "Picture of what was found", "PNG files (*.png)", optional=True, createByDefault=False
        )
        self.addParameter(plot)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the command and print what it found."""
        plot = self.parameterAsFileOutput(parameters, PLOT, context)
        words = ["guide-check", *self.pair(parameters, context)]
        words += ["--plot", plot] if plot else []
        for line in self.call([*words, *self.further(parameters, context)], feedback):
            feedback.pushConsoleInfo(line)
        return {PLOT: plot} if plot else {}
