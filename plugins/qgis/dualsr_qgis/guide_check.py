"""`dualsr:guidecheck`: displacement and relevance of a guide, without a product."""

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
    """Checks how a guide fits a scene."""

    def name(self) -> str:
        """Return the name after the colon."""
        return "guidecheck"

    def displayName(self) -> str:
        """Return the title in the toolbox."""
        return "Guide check (does this image fit the scene?)"

    def shortHelpString(self) -> str:
        """Return the help text of the dialog."""
        return (
            "Reports, without a product, the part of the scene that the guide covers, its displacement in pixels "
            "with the standard error, the ratio of pixel sizes, the explained part of the bands, the part that shows "
            "something else, and a recommendation. The picture shows the places."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """Declare inputs and outputs."""
        self.add_pair(needs_guide=True)
        self.add_further()
        plot = QgsProcessingParameterFileDestination(
            PLOT, "Picture of what was found", "PNG files (*.png)", optional=True, createByDefault=False
        )
        self.addParameter(plot)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the command and print its report."""
        plot = self.parameterAsFileOutput(parameters, PLOT, context)
        words = ["guide-check", *self.pair(parameters, context)]
        words += ["--plot", plot] if plot else []
        for line in self.call([*words, *self.further(parameters, context)], feedback):
            feedback.pushConsoleInfo(line)
        return {PLOT: plot} if plot else {}
