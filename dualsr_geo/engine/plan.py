"""The plan of a run: options checked against scene, guides and machine, before anything is computed or written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from odc.geo.geobox import GeoBox

from dualsr_geo import resources
from dualsr_geo.engine import tile_size
from dualsr_geo.engine.inputs import SourceReader
from dualsr_geo.engine.options import Options, require_blur, require_valid
from dualsr_geo.engine.size_limits import require_tiles
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.alignment import align_guides
from dualsr_geo.io.guides import Guide, StackedGuide
from dualsr_geo.io.readers.blocks.rows import row_bytes
from dualsr_geo.models.definition import (
    Model,
    choose_fine,
    is_consistent,
    planes,
    require_fine,
    require_ratio,
    with_fine,
)
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Nodata, Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.spectral_indices import spectral_indices
from dualsr_geo.raster.windows import Tiling
from dualsr_geo.surveying.error_calibration import MIN_SIDE_PX
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.version import __version__


@dataclass(frozen=True)
class RunPlan:
    """A run whose options are checked.

    Attributes
    ----------
    scene : Scene
    guide : Guide or None
        On the target grid.
    ratio : int
    target : GeoBox
    model : Model
    fine : str
    packing : Packing
        Of the product.
    sizes : TileSizes
    options : Options
    delivery_notes : tuple of str
        Decisions in opening a delivered product, a sentence each.
    capacity : WorkerCapacity or None
        Of the workers that run the tiles; None for this process.
    input_files : tuple of str
        Paths and URLs that the run reads, weights included; no side file may be one of them.
    request : mapping
        Inputs and options as given, JSON, so that a run that resumes or reproduces this one can take them.
    level : str
        Processing level of the scene, e.g. ``"L2A"``; empty where it is not known.
    classification : Scene or None
        The class of each pixel, which is kept next to the product.
    """

    scene: Scene
    guide: Guide | None
    ratio: int
    target: GeoBox
    model: Model
    fine: str
    packing: Packing
    sizes: tile_size.TileSizes
    options: Options
    delivery_notes: tuple[str, ...] = ()
    capacity: tile_size.WorkerCapacity | None = None
    input_files: tuple[str, ...] = ()
    request: Mapping[str, object] = field(default_factory=dict)
    level: str = ""
    classification: Scene | None = None

    @property
    def inputs(self) -> SourceReader:
        """The reader of scene and guide."""
        return SourceReader(self.scene.source, self.guide)

    @property
    def mtf_gain(self) -> float | None:
        """The MTF gain at Nyquist: the option, else that of the scene's sensor."""
        sensor = self.scene.sensor
        return sensor.mtf_gain if self.options.mtf_gain is None and sensor is not None else self.options.mtf_gain

    @property
    def survey_options(self) -> SurveyOptions:
        """The options of the survey."""
        o = self.options
        stacked = self.guide if isinstance(self.guide, StackedGuide) else None
        return SurveyOptions(
            self.ratio,
            o.psf,
            mtf_gain=self.mtf_gain,
            coregister=o.coregister,
            model=self.model,
            fine=self.fine,
            anchors=None if o.spectral is None else min(o.spectral, self.scene.count),
            uncertainty=bool(o.uncertainty),
            detail=self.model.spectral and is_consistent(self.model, self.fine),
            changes=self.model.spectral and o.changes == "auto",
            denoise=o.denoise == "auto",
            mtf_named=o.mtf_gain is not None or o.sensor is not None,
            scene=self.scene.packing,
            packing=self.packing,
            guide_parts=tuple(part.count for part in stacked.parts) if stacked is not None else (),
            sharp_guides=stacked.sharp if stacked is not None else (),
            estimated_guides=stacked.estimated if stacked is not None else (),
        )

    @property
    def context_for(self) -> Callable[[Survey], TileContext]:
        """Return the context of the tiles for a survey; small and picklable."""
        return partial(
            TileContext,
            self.scene.shape,
            self.scene.count,
            self.ratio,
            self.sizes.tile,
            self.model,
            self.fine,
            self.packing,
            resources.device(self.options.device) if self.capacity is None else self.capacity.device,
            indices=spectral_indices(self.scene.bands),
        )

    @property
    def tiling(self) -> Tiling:
        """The tiles of the scene."""
        return Tiling(self.scene.shape, self.sizes.tile, self.model.halo)

    @property
    def identity(self) -> Mapping[str, object]:
        """Everything that the values of the product depend on."""
        o, model = self.options, self.model
        return {
            "version": __version__,
            "scene": self.scene.source.fingerprint(),
            "guide": None if self.guide is None else self.guide.fingerprint(),
            "scale": self.ratio,
            "model": self.model.name,
            "fine": self.fine,
            "coregister": o.coregister,
            "changes": o.changes,
            "denoise": o.denoise,
            "psf": None if o.psf is None else o.psf.to_json(),
            "mtf_gain": self.mtf_gain,
            "tile": self.sizes.tile,
            **(
                {"sensor": self.scene.sensor.sensor} if self.scene.sensor is not None and self.scene.sensor.used else {}
            ),
            **({} if o.wavelengths is None else {"wavelengths": [b.wavelength_nm for b in self.scene.bands]}),
            **({"uncertainty": True} if o.uncertainty else {}),
            **({} if o.spectral is None else {"spectral": min(o.spectral, self.scene.count)}),
            **model.identity,
        }


def plan_run(
    scene: Scene, guides: Sequence[Scene], options: Options, capacity: tile_size.WorkerCapacity | None = None
) -> RunPlan:
    """Check the options against scene, guides and machine, and return the plan of the run.

    Parameters
    ----------
    scene : Scene
    guides : sequence of Scene
    options : Options
    capacity : WorkerCapacity, optional
        Of the workers that run the tiles; this process if left out.

    Raises
    ------
    DualSRError
        For any contradiction; the message names the way out.
    """
    require_valid(options)
    require_tiles(scene.shape, options.tile, scene.name)
    model, fine = configured_model(options)
    require_blur(options, model.halo)
    model.require_inputs(scene.count, sum(g.count for g in guides) if guides else None)
    if options.uncertainty:
        require_uncertainty(model, fine, scene.shape)
    placed = place_guides(scene, guides)
    ratio = choose_scale(scene, placed, options, model)
    require_ratio(model, ratio)
    require_fine(fine, ratio, guided=bool(placed))
    target = grid.refine(scene.geobox, ratio)
    # A model without a guide takes no more than the ratio from one.
    guide = align_guides(placed, target) if placed and model.guided else None
    guide_bands = guide.count if guide else 0
    requirement = tile_size.MemoryRequirement(
        scene.count,
        guide_bands,
        ratio,
        model.halo,
        model.block,
        network_planes=planes(model, fine, scene.count),
        streams_bands=model.streams_bands,
        uncertainty=bool(options.uncertainty),
        block_row=row_bytes([scene.source, *(g.source for g in placed if guide is not None)]),
    )
    sizes = tile_size.choose_sizes(scene.shape, requirement, options, capacity)
    require_tiles(scene.shape, sizes.tile, scene.name)
    packing = product_packing(scene, options.dtype, options.nodata)
    return RunPlan(scene, guide, ratio, target, model, fine, packing, sizes, options, capacity=capacity)


def configured_model(options: Options) -> tuple[Model, str]:
    """Return the model of a run and its fine stage."""
    model = load_model(options.model, published=options.published, precision=options.precision)
    model = model.with_orientations(options.orientations)
    fine = choose_fine(model, options.fine)
    return with_fine(model.with_half(options.half_model, fine), fine), fine


def require_uncertainty(model: Model, fine: str, shape: tuple[int, int]) -> None:
    """Check that the errors of a model can be estimated on the scene.

    Raises
    ------
    OptionError
        If there is no error model for this model, or for its coarse estimate without consistency.
    InputError
        If the scene is too small to be degraded once more.
    """
    if not model.spectral or not is_consistent(model, fine):
        raise OptionError(
            f"--uncertainty knows the errors of auto, learned, regression and interpolation made consistent with "
            f"the scene, not those of `{model.name}` with --fine {fine}. Leave it out, or give --model auto."
        )
    least = 2 * MIN_SIDE_PX
    if min(shape) < least:
        raise InputError(
            f"--uncertainty degrades the scene once more, which takes {least} x {least} pixels; "
            f"the scene has {shape[0]} x {shape[1]}. Leave it out."
        )


def product_packing(scene: Scene, dtype: str | None = None, nodata: Nodata = None) -> Packing:
    """Return the packing of the product: the scene's, or the requested one, with nodata if the scene has holes.

    Integers without a nodata value get one: 0 if the type is unsigned, else its smallest. A valid
    pixel that would be stored as nodata is stored one step next to it.

    Parameters
    ----------
    scene : Scene
    dtype : str, optional
    nodata : float or "auto", optional
        The scene has that of ``"auto"`` already.
    """
    packing = scene.packing.cast(dtype, None if nodata == "auto" else nodata)
    has_holes = scene.packing.is_float or scene.packing.nodata is not None or scene.source.masked
    if packing.is_float or packing.nodata is not None or not has_holes:
        return packing
    return replace(packing, nodata=float(np.iinfo(packing.dtype).min))


def place_guides(scene: Scene, guides: Sequence[Scene]) -> list[Scene]:
    """Check that guides are at the place of a scene, and that none is given twice.

    Parameters
    ----------
    scene : Scene
    guides : sequence of Scene

    Returns
    -------
    list of Scene
        The guides; those without georeference have the extent of the scene, which has none either.

    Raises
    ------
    GridError
        If only one of scene and guide is georeferenced, or they do not overlap, or their shapes do not fit.
    InputError
        If a guide is given twice.
    """
    if len(guides) < 2:
        return [_placed(scene, guide, "guide") for guide in guides]
    placed = [_placed(scene, guide, f"guide {guide.name}") for guide in guides]
    contents: list[Mapping[str, object]] = []
    for guide in guides:
        content = guide.source.fingerprint()
        if content in contents:
            raise InputError(f"{guide.name} is given twice as --rgb, so its bands would count twice. Give it once.")
        contents.append(content)
    return placed


def _placed(scene: Scene, guide: Scene, name: str) -> Scene:
    if grid.is_bare(scene.geobox) and grid.is_bare(guide.geobox):
        return replace(guide, geobox=grid.same_extent(scene.geobox, guide.shape))
    grid.require_same_world(scene.geobox, guide.geobox, name)
    return guide


def choose_scale(scene: Scene, guides: Sequence[Scene], options: Options, model: Model | None = None) -> int:
    """Return the given ratio, or the largest that every guide allows; it fits the PSF and the network, if there are any.

    A given ratio may be up to the largest that the finest guide allows.

    Raises
    ------
    OptionError
        If the scale contradicts the PSF.
    ScaleError
        If the scale contradicts the finest guide.
    GridError
        If a guide is not at least twice as sharp as the scene.
    """
    scale, psf = options.scale, options.psf
    if psf is not None and scale is not None and psf.ratio != scale:
        raise OptionError(f"`psf` is for ratio {psf.ratio}, but --scale is {scale}. Give one of both.")
    ratio = psf.ratio if psf is not None else scale
    if ratio is None and model is not None:
        ratio = model.only_ratio
    if not guides:
        return grid.choose_ratio(ratio, scene.geobox, None)
    # All of them must be sharper than the scene; those that are coarser than the product are resampled.
    ordered = sorted(guides, key=lambda guide: grid.largest_ratio(scene.geobox, guide.geobox))
    return grid.choose_ratio(ratio, scene.geobox, ordered[0 if ratio is None else -1].geobox)
