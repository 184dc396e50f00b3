"""One trial of the Wald protocol: a scene is degraded, sharpened by each model, and scored against itself."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox

from dualsr_geo import resources
from dualsr_geo.engine.degrade_raster import degrade_to
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.evaluation.gdal_pansharpening import pansharpen
from dualsr_geo.evaluation.metrics import Scores, score
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.models.definition import require_ratio
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.registry import models as registered_models
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.spectral_indices import SpectralIndex, spectral_indices
from dualsr_geo.raster.windows import Window

# Name of GDAL's own pansharpening in a comparison.
GDAL = "gdal-brovey"
# Order of the main scores; the others follow.
MAIN_SCORES = ("psnr_db", "psnr_band_mean_db", "ssim", "sam_deg", "ergas", "rmse", "cc", "q2n", "uqi", "scc")


def ordered(scores: dict[str, Any]) -> dict[str, Any]:
    """Return scores, the main ones first, without the ratio."""
    others = {k: v for k, v in scores.items() if k not in (*MAIN_SCORES, "ratio")}
    return {k: scores[k] for k in MAIN_SCORES} | others


@dataclass(frozen=True)
class WaldTrial:
    """A degraded scene with its degraded guides, and the scene itself as the reference.

    Attributes
    ----------
    scene : Path
    guides : tuple of Path
    reference : Source
        The scene as it is, cut to a multiple of the ratio.
    geobox : GeoBox
        Its grid.
    scale : int
    directory : Path
        Of the products.
    protocol : str
        The protocol in words.
    indices : tuple of SpectralIndex
        Spectral indices of the scene.
    """

    scene: Path
    guides: tuple[Path, ...]
    reference: Source
    geobox: GeoBox
    scale: int
    directory: Path
    protocol: str
    indices: tuple[SpectralIndex, ...] = ()


@dataclass(frozen=True)
class ModelResult:
    """The product of one model in a trial, with its scores and its cost; or the error that ended it.

    Attributes
    ----------
    model : str
    product : Path
    scores : Scores or None
        None after an error.
    seconds : float
    peak_memory_bytes : int
    notes : tuple of str
        Warnings of the run.
    error : str or None
    """

    model: str
    product: Path
    scores: Scores | None
    seconds: float
    peak_memory_bytes: int
    notes: tuple[str, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return scores, seconds, memory and notes, or the error."""
        if self.scores is None:
            return {"error": self.error}
        cost = {"seconds": round(self.seconds, 2), "peak_memory_bytes": self.peak_memory_bytes}
        return {**ordered(self.scores.to_json()), **cost, "notes": list(self.notes)}


def choose_models(
    models: Sequence[str | os.PathLike[str]] | None, bands: int, guides: Sequence[Scene], scale: int
) -> list[str]:
    """Return the names of the models to compare: those given, or all that can run.

    Raises
    ------
    OptionError
        If a model is unknown, or needs a guide and there is none.
    InputError
        If the bands of scene and guide do not fit a network.
    ScaleError
        If a model does not support the ratio.
    """
    guide_bands = sum(g.count for g in guides)
    has_pan = len(guides) == 1 and guide_bands == 1
    if models is None:
        return [n for n, m in registered_models().items() if guides or not m.needs_guide] + [GDAL] * has_pan
    names = list(dict.fromkeys(os.fspath(m) for m in models))
    if not names:
        raise OptionError("--models names no model. Give e.g. --models auto,bicubic, or leave it out for all.")
    for name in names:
        if name != GDAL:
            model = load_model(name)
            require_ratio(model, scale)
            model.require_inputs(bands, guide_bands if guides else None)
        elif not has_pan:
            raise OptionError(
                f"`{GDAL}` needs a guide of 1 band, but {guide_bands} are given. Leave it out of --models."
            )
    return names


def prepare(
    scene: Scene, guides: Sequence[Scene], scale: int, mtf_gain: float, guide_mtf_gain: float, directory: Path
) -> WaldTrial:
    """Degrade scene and guides into a directory.

    Parameters
    ----------
    scene : Scene
    guides : sequence of Scene
    scale : int
    mtf_gain, guide_mtf_gain : float
        MTF gains at the coarse Nyquist frequency, 0..1.
    directory : Path
    """
    scene, *guides = (_georeferenced(s) for s in (scene, *guides))
    degrade_to(scene, directory / "scene.tif", scale, mtf_gain)
    paths = tuple(directory / f"guide{i}.tif" for i in range(len(guides)))
    for guide, path in zip(guides, paths, strict=True):
        degrade_to(guide, path, scale, guide_mtf_gain)
    rows, columns = (n // scale * scale for n in scene.shape)
    reference = scene.source.crop(Window(0, rows, 0, columns))
    guide_gain = f"; {guide_mtf_gain:g} for the guide" if guides else ""
    protocol = (
        f"Wald protocol: the scene is blurred by a Gaussian MTF (gain {mtf_gain:g} at the coarse Nyquist frequency"
        f"{guide_gain}), decimated by {scale}, sharpened, and compared with the scene itself. The models do not know "
        "the blur. The peak of PSNR is the scene's largest value."
    )
    return WaldTrial(
        directory / "scene.tif",
        paths,
        reference,
        scene.geobox[:rows, :columns],
        scale,
        directory,
        protocol,
        spectral_indices(scene.bands),
    )


def _georeferenced(scene: Scene) -> Scene:
    """Move the corner of a scene without CRS: a degraded guide in pixel coordinates would look like one without a grid."""
    box = scene.geobox
    if box.crs is not None:
        return scene
    return replace(scene, geobox=GeoBox(box.shape, Affine.translation(1, 1) @ box.affine, None))


def run_model(trial: WaldTrial, name: str, options: Options) -> ModelResult:
    """Sharpen the degraded scene with one model, and score the product."""
    # A weights file is named by its path.
    product = trial.directory / (f"{name}.tif" if name == GDAL else f"{name.replace('/', '_')}.zarr")
    resources.reset_peak()
    notes: tuple[str, ...] = ()
    start = time.monotonic()
    try:
        if name == GDAL:
            pansharpen(trial.scene, trial.guides[0], product, trial.geobox)
        else:
            notes = _sharpen(trial, name, options, product)
    except InputError as error:
        # GDAL supports fewer grids than we do; the other models are still compared.
        if name != GDAL:
            raise
        return ModelResult(name, product, None, 0.0, 0, (), str(error))
    seconds, peak = time.monotonic() - start, resources.peak()
    # Both are of this program, so a model that changes the range of the values is bad, and in the same unit.
    scores = score(
        open_scene(product).source,
        trial.reference,
        ratio=trial.scale,
        jobs=options.jobs,
        one_unit=False,
        indices=trial.indices,
    )
    return ModelResult(name, product, scores, seconds, peak, notes)


def _sharpen(trial: WaldTrial, name: str, options: Options, product: Path) -> tuple[str, ...]:
    """Run one of our models; return its warnings."""
    options = trial_options(trial, options, name)
    guides = trial.guides if load_model(name).guided else None
    with warnings.catch_warnings():
        # The result has them, and several models give the same.
        warnings.simplefilter("ignore", DualSRWarning)
        result = upscale(trial.scene, product, rgb=guides, options=options)
    return tuple(result["notes"])


def trial_options(trial: WaldTrial, options: Options, model: str) -> Options:
    """Return the options with which a model sharpens the degraded scene, from those of the comparison."""
    return replace(
        options,
        scale=trial.scale,
        model=model,
        bidx=None,
        gsd=None,
        sensor=None,
        nodata=None,
        resume=False,
        uncertainty=False,
    )
