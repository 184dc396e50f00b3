"""The base of all algorithms of the provider: it calls the command and passes on its output."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsRasterLayer,
)
from qgis.PyQt.QtGui import QIcon

from . import command
from .pages import help_page, icon
from .setting import program

SCENE, GUIDE, SCALE, EXTRA = "SCENE", "GUIDE", "SCALE", "EXTRA"


class Algorithm(QgsProcessingAlgorithm):
    """An algorithm that is one call of `dualsr-geo`."""

    def createInstance(self) -> Algorithm:
        """Return a new instance; QGIS makes one for every run."""
        return type(self)()

    def icon(self) -> QIcon:
        """Return the icon."""
        return icon()

    def helpUrl(self) -> str:
        """Return the address of the help page."""
        return help_page()

    def canExecute(self) -> tuple[bool, str]:
        """Return whether the command is installed, and how to install it; QGIS calls this first."""
        try:
            program()
        except command.CommandError as error:
            return False, str(error).replace("\n", "<br>")
        return True, ""

    def call(
        self, arguments: Sequence[str], feedback: QgsProcessingFeedback, hear: Callable[[str], bool] = lambda _: False
    ) -> list[str]:
        """Run the command and pass on its messages; return the lines of its output.

        Parameters
        ----------
        arguments : sequence of str
        feedback : QgsProcessingFeedback
        hear : callable
            Called with each line; lines for which it returns True are not passed on.

        Raises
        ------
        QgsProcessingException
            If it fails, with its own message; or if the user cancelled.
        """
        answer: list[str] = []

        def pass_on(stream: str, line: str) -> None:
            if hear(line):
                return
            if line.startswith("Warning: "):
                feedback.pushWarning(line[len("Warning: ") :])
            elif line.startswith("Error: "):
                return  # raised below
            elif stream == "err":
                feedback.pushConsoleInfo(line)
            else:
                answer.append(line)

        try:
            where = program()
            feedback.pushDebugInfo(f"{where}, version {command.version(where)}")
            feedback.pushCommandInfo(shlex.join([command.PROGRAM, *arguments]))
            command.run(where, arguments, pass_on, feedback.isCanceled)
        except command.CommandError as error:
            raise QgsProcessingException(str(error)) from error
        except command.Cancelled as error:
            raise QgsProcessingException(self.left_behind()) from error
        return answer

    def left_behind(self) -> str:
        """Return the message for a run that the user cancelled."""
        return "Cancelled; nothing was written."

    def path(self, parameters: dict[str, Any], name: str, context: Any) -> str | None:
        """Return the file of a layer; None if no layer is given.

        Raises
        ------
        QgsProcessingException
            If the layer is not a file.
        """
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None:
            if parameters.get(name):
                raise QgsProcessingException(self.invalidRasterError(parameters, name))
            return None
        return file_of(layer)

    def add_pair(self, *, needs_guide: bool) -> None:
        """Add the fields of a scene, its guide, which may be required, and the scale."""
        self.addParameter(QgsProcessingParameterRasterLayer(SCENE, "Scene"))
        self.addParameter(
            QgsProcessingParameterRasterLayer(GUIDE, "Guide, a sharper image (--rgb)", optional=not needs_guide)
        )
        self.add_scale()

    def add_scale(self) -> None:
        """Add the field of the scale."""
        whole, title = QgsProcessingParameterNumber.Type.Integer, "Scale, ratio of pixel sizes (--scale)"
        self.addParameter(QgsProcessingParameterNumber(SCALE, title, whole, optional=True, minValue=2))

    def pair(self, parameters: dict[str, Any], context: Any) -> list[str]:
        """Return scene, guide and scale as words of the command line."""
        scene, guide = (self.path(parameters, name, context) for name in (SCENE, GUIDE))
        return [str(scene), *(["--rgb", guide] if guide else []), *self.scale(parameters, context)]

    def scale(self, parameters: dict[str, Any], context: Any) -> list[str]:
        """Return the scale as words of the command line."""
        if parameters.get(SCALE) is None:
            return []
        return ["--scale", str(self.parameterAsInt(parameters, SCALE, context))]

    def add_further(self) -> None:
        """Add the field for options that have no field of their own."""
        extra = QgsProcessingParameterString(
            EXTRA, "Further options, as `dualsr-geo` takes them on the command line", optional=True
        )
        extra.setFlags(extra.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        self.addParameter(extra)

    def further(self, parameters: dict[str, Any], context: Any) -> list[str]:
        """Return the further options, word by word."""
        words = shlex.shlex(self.parameterAsString(parameters, EXTRA, context), posix=True, punctuation_chars=False)
        # A backslash is a part of paths on Windows.
        words.escape, words.commenters, words.whitespace_split = "", "", True
        try:
            return list(words)
        except ValueError as error:
            raise QgsProcessingException(
                f"The further options cannot be read ({error}). Close every quote that is opened."
            ) from error


def file_of(layer: QgsRasterLayer) -> str:
    """Return the file of a raster layer, as GDAL names it.

    Raises
    ------
    QgsProcessingException
        If GDAL does not read the layer, e.g. a map service.
    """
    kind = layer.dataProvider().name()
    if kind != "gdal":
        raise QgsProcessingException(
            f"The layer {layer.name()} comes from `{kind}`, and dualsr-geo reads files. "
            "Save it as GeoTIFF (right click > Export > Save As) and give that layer."
        )
    # QGIS's own options follow the name; its decoded path would lose an archive or a subdataset.
    return layer.source().split("|option:")[0]
