"""The context of a tile: everything that all tiles of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.models.definition import Model, is_consistent
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.spectral_indices import SpectralIndex
from dualsr_geo.raster.windows import Tile, Tiling, Window
from dualsr_geo.surveying.survey import Survey


@dataclass(frozen=True)
class TileContext:
    """Everything that all tiles of a run share; small and picklable.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    count : int
        Bands of the scene.
    ratio : int
    tile : int
        Side of a core, lr pixels.
    model : Model
    fine : str
    packing : Packing
        Of the product.
    device : str
    survey : Survey
    fine_stage : FineStage or None
        The fitted fine stage; None if it does not correct a finished estimate.
    indices : tuple of SpectralIndex
        The spectral indices whose fidelity is measured.
    """

    shape: tuple[int, int]
    count: int
    ratio: int
    tile: int
    model: Model
    fine: str
    packing: Packing
    device: str
    survey: Survey
    fine_stage: FineStage | None = None
    indices: tuple[SpectralIndex, ...] = ()

    @cached_property
    def tiling(self) -> Tiling:
        """The scene cut into tiles."""
        return Tiling(self.shape, self.tile, self.model.halo)

    @property
    def consistent(self) -> bool:
        """Whether the coarse estimate is made consistent with the scene."""
        return is_consistent(self.model, self.fine)

    @property
    def guided(self) -> bool:
        """Whether tiles read the guide."""
        return self.survey.guide is not None and self.model.reads_guide(self.survey.model_state)

    @property
    def refines(self) -> bool:
        """Whether the fine stage changes the coarse estimate."""
        return self.fine_stage is not None and self.fine_stage.share > 0


def guide_window(context: TileContext, tile: Tile) -> Window:
    """Return the window of the guide that a tile needs, hr pixels; it may extend beyond the grid."""
    return tile.padded.scaled(context.ratio).grown(context.survey.guide_margin_px)
