"""How a product looks once it is loaded: as the scene does, or in natural colours."""

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

# Red, green and blue of the eye; a band further away would be another colour.
NATURAL_NM = (650.0, 550.0, 450.0)
FARTHEST_NM = 60.0
# Pixels that the stretch is measured on, four times as many as QGIS takes.
LOOKED_AT = 1_000_000


# QGIS keeps a bare pointer to a post processor, and an algorithm within a model is gone before its layer is loaded.
_kept: dict[str, Styler] = {}


def style_when_loaded(context: QgsProcessingContext, path: str, scene: QgsMapLayerStyle | None = None) -> None:
    """Have a layer styled once QGIS has loaded it: as a scene's layer, or in natural colours."""
    if context.willLoadLayerOnCompletion(path):
        _kept[path] = Styler(scene)
        context.layerToLoadOnCompletionDetails(path).setPostProcessor(_kept[path])


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Styles a layer when QGIS has loaded it.

    Parameters
    ----------
    scene : QgsMapLayerStyle, optional
        The style of the scene's layer, to look like it; natural colours if left out.
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
            feedback.pushInfo("The bands do not say their wavelengths, so no natural colours are shown.")
        layer.triggerRepaint()


def colour(layer: QgsRasterLayer) -> tuple[int, int, int] | None:
    """Show a layer in natural colours, stretched from the 2nd to the 98th percentile.

    Returns
    -------
    (int, int, int) or None
        The bands shown, from 1; None where their wavelengths are not known. Then the first band is
        shown in grey, of a layer of three or four bands the first three.
    """
    provider = layer.dataProvider()
    bands = natural(wavelengths(layer.source()))
    shown = bands or ((1, 2, 3) if layer.bandCount() in (3, 4) else None)
    renderer = QgsMultiBandColorRenderer(provider, *shown) if shown else QgsSingleBandGrayRenderer(provider, 1)
    layer.setRenderer(renderer)
    layer.setContrastEnhancement(
        QgsContrastEnhancement.StretchToMinimumMaximum, QgsRasterMinMaxOrigin.CumulativeCut, layer.extent(), LOOKED_AT
    )
    return bands


def wavelengths(source: str) -> list[float | None]:
    """Return the wavelengths of a raster's bands, nm, None where one says nothing."""
    dataset = gdal.Open(source)
    return [_wavelength(dataset.GetRasterBand(i + 1)) for i in range(dataset.RasterCount)]


def _wavelength(band: gdal.Band) -> float | None:
    um = band.GetMetadataItem("CENTRAL_WAVELENGTH_UM", "IMAGERY")
    if um is not None:
        return 1000 * float(um)
    nm = band.GetMetadataItem("wavelength")
    return None if nm is None else float(nm)


def natural(waves: Sequence[float | None]) -> tuple[int, int, int] | None:
    """Return the bands, from 1, nearest to red, green and blue; None where one of them is missing."""
    known = {i + 1: nm for i, nm in enumerate(waves) if nm is not None}
    found = [min(known, key=lambda i, wanted=nm: abs(known[i] - wanted), default=None) for nm in NATURAL_NM]
    far = any(i is None or abs(known[i] - nm) > FARTHEST_NM for i, nm in zip(found, NATURAL_NM))
    return None if far or len(set(found)) < len(found) else (found[0], found[1], found[2])
