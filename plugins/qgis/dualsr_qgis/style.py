"""Style of a loaded product: that of the scene, or natural colours."""

from __future__ import annotations

from collections.abc import Sequence

from osgeo import gdal
from qgis.core import (
    QgsContrastEnhancement,
    QgsMapLayerStyle,
    QgsMultiBandColorRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
    QgsRasterMinMaxOrigin,
    QgsSingleBandGrayRenderer,
)

# Red, green and blue, and the largest distance of a band.
NATURAL_NM = (650.0, 550.0, 450.0)
FARTHEST_NM = 60.0
# Pixels for the stretch, four times QGIS's default.
STRETCH_PIXELS = 1_000_000


# QGIS keeps no reference to a post processor, and an algorithm within a model ends before its layer is loaded.
_stylers: dict[str, Styler] = {}


def style_when_loaded(context: QgsProcessingContext, path: str, scene: QgsMapLayerStyle | None = None) -> None:
    """Style a layer after QGIS has loaded it: like a scene's layer, or in natural colours."""
    if context.willLoadLayerOnCompletion(path):
        _stylers[path] = Styler(scene)
        context.layerToLoadOnCompletionDetails(path).setPostProcessor(_stylers[path])


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Styles a layer when QGIS has loaded it.

    Parameters
    ----------
    scene : QgsMapLayerStyle, optional
        The style of the scene's layer; natural colours if left out.
    """

    def __init__(self, scene: QgsMapLayerStyle | None = None) -> None:
        super().__init__()
        self.scene = scene

    def postProcessLayer(
        self, layer: QgsRasterLayer, _context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Style the layer; QGIS calls this."""
        if self.scene is not None:
            self.scene.writeToLayer(layer)
        elif colour(layer) is None and layer.bandCount() > 1:
            feedback.pushInfo("The bands have no wavelengths, so natural colours cannot be shown.")
        layer.triggerRepaint()


def colour(layer: QgsRasterLayer) -> tuple[int, int, int] | None:
    """Show a layer in natural colours, stretched from the 2nd to the 98th percentile.

    Returns
    -------
    (int, int, int) or None
        The bands shown, from 1; None if their wavelengths are not known. Then the first band is
        shown in grey, or the first three bands of a layer of three or four.
    """
    provider = layer.dataProvider()
    bands = natural(wavelengths(layer.source()))
    shown = bands or ((1, 2, 3) if layer.bandCount() in (3, 4) else None)
    renderer = QgsMultiBandColorRenderer(provider, *shown) if shown else QgsSingleBandGrayRenderer(provider, 1)
    layer.setRenderer(renderer)
    layer.setContrastEnhancement(
        QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum,
        QgsRasterMinMaxOrigin.Limits.CumulativeCut,
        layer.extent(),
        STRETCH_PIXELS,
    )
    return bands


def wavelengths(source: str) -> list[float | None]:
    """Return the wavelengths of a raster's bands, nm; None where one has none."""
    dataset = gdal.Open(source)
    return [_wavelength(dataset.GetRasterBand(i + 1)) for i in range(dataset.RasterCount)]


def _wavelength(band: gdal.Band) -> float | None:
    um = band.GetMetadataItem("CENTRAL_WAVELENGTH_UM", "IMAGERY")
    if um is not None:
        return 1000 * float(um)
    nm = band.GetMetadataItem("wavelength")
    return None if nm is None else float(nm)


def natural(waves: Sequence[float | None]) -> tuple[int, int, int] | None:
    """Return the bands, from 1, nearest to red, green and blue; None if one of them is missing."""
    nm_of = {i + 1: nm for i, nm in enumerate(waves) if nm is not None}
    bands = [min(nm_of, key=lambda i, wanted=nm: abs(nm_of[i] - wanted), default=None) for nm in NATURAL_NM]
    far = any(i is None or abs(nm_of[i] - nm) > FARTHEST_NM for i, nm in zip(bands, NATURAL_NM))
    return None if far or len(set(bands)) < len(bands) else (bands[0], bands[1], bands[2])
