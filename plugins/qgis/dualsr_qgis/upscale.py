"""`dualsr:upscale`: a scene and its guide in, a sharpened and styled layer out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayerStyle,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterDestination,
)

from .algorithm import SCENE, Algorithm
from .progress import OPTIONS, Progress
from .style import style_when_loaded

MODEL, COREGISTER, UNCERTAINTY, COLOURS, RESUME = "MODEL", "COREGISTER", "UNCERTAINTY", "COLOURS", "RESUME"
OUTPUT, REPORT = "OUTPUT", "REPORT"
# A selection of `dualsr-geo models list`; the others are for comparison, or need weights.
MODELS = ("auto", "regression", "mtf-glp-hpm", "gsa", "brovey", "bicubic")
COREGISTERS = ("auto", "local", "off")
NATURAL, AS_SCENE = range(2)

HELP = """Sharpens a scene of many bands to a finer grid: guided by a sharper image of the same place (a panchromatic \
band, an aerial photograph), or unguided.

<b>Scene</b>: the layer to sharpen. It must be a file, not a map service.
<b>Guide</b>: the sharper image, on any grid and in any coordinate system. Blur and shift between the two are measured.
<b>Scale</b>: how many times finer. Empty: as fine as the guide allows; required without a guide.
<b>Colours</b>: the style of the new layer. Natural colours need bands with wavelengths.
<b>Go on</b>: after a cancelled run with the same output file, only missing tiles are computed.

The product has exactly the scene's extent, bands, units and data type."""


class Upscale(Algorithm):
    """Sharpens a scene."""

    def name(self) -> str:
        """Return the name after the colon."""
        return "upscale"

    def displayName(self) -> str:
        """Return the title in the toolbox."""
        return "Upscale (sharpen a scene)"

    def tags(self) -> list[str]:
        """Return search words for the toolbox."""
        return ["pansharpening", "sharpen", "super-resolution", "hyperspectral", "multispectral", "downscale"]

    def shortHelpString(self) -> str:
        """Return the help text of the dialog."""
        return HELP

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """Declare inputs and outputs."""
        enum = QgsProcessingParameterEnum
        self.add_pair(needs_guide=False)
        looks = ["Natural colours (650, 550, 450 nm)", "As the scene's layer"]
        self.addParameter(enum(COLOURS, "Colours of the new layer", looks, defaultValue=NATURAL))
        self.addParameter(
            QgsProcessingParameterBoolean(RESUME, "Go on with a cancelled run (--resume)", defaultValue=False)
        )
        models = enum(MODEL, "Model (--model)", MODELS, defaultValue="auto", usesStaticStrings=True)
        moves = enum(
            COREGISTER, "Displaced guide (--coregister)", COREGISTERS, defaultValue="auto", usesStaticStrings=True
        )
        deviations = QgsProcessingParameterBoolean(UNCERTAINTY, "Also write standard deviations (--uncertainty)", False)
        page = QgsProcessingParameterBoolean(REPORT, "Also write a page to look at, .html next to it (--report)", False)
        for rare in (models, moves, deviations, page):
            rare.setFlags(rare.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
            self.addParameter(rare)
        self.add_further()
        self.addParameter(QgsProcessingParameterRasterDestination(OUTPUT, "Sharpened"))

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, _feedback: QgsProcessingFeedback
    ) -> bool:
        """Take the style of the scene's layer while QGIS lets layers be touched."""
        scene = self.parameterAsRasterLayer(parameters, SCENE, context)
        self.look = None
        if scene is not None and self.parameterAsEnum(parameters, COLOURS, context) == AS_SCENE:
            self.look = QgsMapLayerStyle()
            self.look.readFromLayer(scene)
        return True

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the command and hand its product to QGIS."""
        self.output = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        for line in self.call(self.arguments(parameters, context), feedback, Progress(feedback).hear):
            feedback.pushInfo(line)
        style_when_loaded(context, self.output, self.look)
        return {OUTPUT: self.output}

    def arguments(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
        """Return the words of the command line."""
        # QGIS has already confirmed that the file may be replaced.
        words = ["upscale", *self.pair(parameters, context), "-o", self.output, "--overwrite", *OPTIONS]
        for option, name in (("--model", MODEL), ("--coregister", COREGISTER)):
            words += [option, self.parameterAsEnumString(parameters, name, context)]
        for option, name in (("--uncertainty", UNCERTAINTY), ("--resume", RESUME)):
            words += [option] if self.parameterAsBoolean(parameters, name, context) else []
        if self.parameterAsBoolean(parameters, REPORT, context):
            words += ["--report", str(Path(self.output).with_suffix(".html"))]
        return [*words, *self.further(parameters, context)]

    def left_behind(self) -> str:
        """Return the message for a run that the user cancelled."""
        if Path(f"{self.output}.part").is_dir():
            return (
                f"Cancelled. What is finished stays in {self.output}.part: give the same output file and "
                "`Go on with a cancelled run` to continue, or delete that folder."
            )
        return super().left_behind()
