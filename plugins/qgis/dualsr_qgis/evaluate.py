"""`dualsr:evaluate` compares models on a scene, `dualsr:score` a product with a reference."""

from __future__ import annotations

import json
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .algorithm import Algorithm

MODELS, REPORT, PRODUCT, REFERENCE = "MODELS", "REPORT", "PRODUCT", "REFERENCE"
SCORES = {
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "sam_deg": "Spectral angle, degrees",
    "ergas": "ERGAS",
    "rmse": "RMSE",
}


class Evaluate(Algorithm):
    """Compares models on a scene by the Wald protocol."""

    def name(self) -> str:
        """Return the name after the colon."""
        return "evaluate"

    def displayName(self) -> str:
        """Return the title in the toolbox."""
        return "Evaluate (compare models on a scene)"

    def shortHelpString(self) -> str:
        """Return the help text of the dialog."""
        return (
            "Measures how well a scene can be sharpened, without a reference: scene and guide are degraded, "
            "sharpened again with every model, and compared with the original scene (the Wald protocol).\n\n"
            "PSNR and SSIM: more is better. SAM, the spectral angle, and ERGAS: less is better. The report is a page "
            "with pictures; open it from the Results Viewer."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """Declare inputs and outputs."""
        self.add_pair(needs_guide=False)
        models = "Models, e.g. auto,regression,bicubic; all that can run if empty (--models)"
        self.addParameter(QgsProcessingParameterString(MODELS, models, optional=True))
        self.add_further()
        self.addParameter(QgsProcessingParameterFileDestination(REPORT, "Report", "HTML files (*.html)"))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the command and print its table."""
        report = self.parameterAsFileOutput(parameters, REPORT, context)
        models = self.parameterAsString(parameters, MODELS, context)
        words = ["evaluate", *self.pair(parameters, context), "--report", report, "--overwrite"]
        words += ["--models", models] if models else []
        # The number of models is not known before, so the bar only shows that the command runs.
        feedback.setProgressText("Sharpening with every model")
        for line in self.call([*words, *self.further(parameters, context)], feedback):
            feedback.pushConsoleInfo(line)
        return {REPORT: report}


class Score(Algorithm):
    """Scores a product against a reference."""

    def name(self) -> str:
        """Return the name after the colon."""
        return "score"

    def displayName(self) -> str:
        """Return the title in the toolbox."""
        return "Score (compare a product with the truth)"

    def shortHelpString(self) -> str:
        """Return the help text of the dialog."""
        return (
            "Compares a sharpened layer with a reference of the same pixels and bands.\n\n"
            "PSNR and SSIM: more is better. Spectral angle, ERGAS and RMSE: less is better. ERGAS needs the scale of "
            "the product."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """Declare inputs and outputs."""
        self.addParameter(QgsProcessingParameterRasterLayer(PRODUCT, "Product"))
        self.addParameter(QgsProcessingParameterRasterLayer(REFERENCE, "Reference, the truth (--reference)"))
        self.add_scale()
        for name, title in SCORES.items():
            self.addOutput(QgsProcessingOutputNumber(name.upper(), title))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the command; return its figures."""
        product, reference = (self.path(parameters, name, context) for name in (PRODUCT, REFERENCE))
        words = ["evaluate", str(product), "--reference", str(reference), *self.scale(parameters, context), "--json"]
        values = json.loads(self.call(words, feedback)[-1])
        scores = {name: values[name] for name in SCORES if values[name] is not None}
        for name, value in scores.items():
            feedback.pushInfo(f"{SCORES[name]}: {value:.6g}")
        return {name.upper(): value for name, value in scores.items()}
