"""One trial of the Wald protocol: a scene degraded, sharpened by each model, and scored against itself."""

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
from dualsr_geo.models.definition import require_inputs, require_ratio
from dualsr_geo.models.registry import MODELS, load_model
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Window

# GDAL's own pansharpening, a contender beside the models.
GDAL = "gdal-brovey"
# What is printed first; the others follow.
FIRST = ("psnr_db", "psnr_band_mean_db", "ssim", "sam_deg", "ergas", "rmse", "cc", "q2n", "uqi", "scc")


def ordered(found: dict[str, Any]) -> dict[str, Any]:
    """Return scores in the order in which they are read."""
    return {k: found[k] for k in FIRST} | {k: v for k, v in found.items() if k not in (*FIRST, "ratio")}


@dataclass(frozen=True)
class WaldTrial:
    """A scene degraded by the Wald protocol, its guide likewise, and the truth.

    Attributes
    ----------
    scene : Path
    guides : tuple of Path
    reference : Source
        The scene as it is, cut to a multiple of the ratio.
    geobox : GeoBox
        Its grid.
    scale : int
    folder : Path
        Where products go.
    protocol : str
        One sentence.
    """

    scene: Path
    guides: tuple[Path, ...]
    reference: Source
    geobox: GeoBox
    scale: int
    folder: Path
    protocol: str


@dataclass(frozen=True)
class Outcome:
    """What one model made of a trial: its product, scores and cost; or the error that it ended in."""

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


def contenders(
    models: Sequence[str | os.PathLike[str]] | None, bands: int, guides: Sequence[Scene], scale: int
) -> list[str]:
    """Return the names of the models to compare.

    Raises
    ------
    OptionError
        If one asked for is not known, or needs a guide and there is none.
    InputError
        If the bands of scene and guide do not fit a network.
    ScaleError
        If it cannot do the ratio.
    """
    pan = len(guides) == 1 and guides[0].count == 1
    if models is None:
        return [n for n, m in MODELS.items() if guides or not m.needs_guide] + [GDAL] * pan
    names = list(dict.fromkeys(os.fspath(m) for m in models))
    for name in names:
        if name == GDAL and not pan:
            raise OptionError(
                f"`{GDAL}` needs a guide of one band; here are {sum(g.count for g in guides)}. Leave it out."
            )
        if name == GDAL:
            continue
        model = load_model(name)
        require_ratio(model, scale)
        require_inputs(model, bands, sum(g.count for g in guides) if guides else None)
    return names


def prepare(
    scene: Scene, guides: Sequence[Scene], scale: int, mtf_gain: float, guide_mtf_gain: float, folder: Path
) -> WaldTrial:
    """Degrade scene and guides into a folder."""
    scene, *guides = (_somewhere(s) for s in (scene, *guides))
    degrade_to(scene, folder / "scene.tif", scale, mtf_gain)
    paths = tuple(folder / f"guide{i}.tif" for i in range(len(guides)))
    for guide, path in zip(guides, paths, strict=True):
        degrade_to(guide, path, scale, guide_mtf_gain)
    rows, columns = (n // scale * scale for n in scene.shape)
    truth = scene.source.crop(Window(0, rows, 0, columns))
    guided = f" and the guide ({guide_mtf_gain:g})" if guides else ""
    protocol = (
        f"Wald protocol: the scene{guided} blurred by a Gaussian MTF (gain {mtf_gain:g} at the coarse Nyquist "
        f"frequency), decimated by {scale}, sharpened, and compared with the scene as it was; the models are not "
        "told the blur. PSNR's peak is the scene's largest value."
    )
    return WaldTrial(folder / "scene.tif", paths, truth, scene.geobox[:rows, :columns], scale, folder, protocol)


def _somewhere(scene: Scene) -> Scene:
    """Give a scene without CRS another corner: a degraded guide with pixel coordinates looks like one without a place."""
    box = scene.geobox
    if box.crs is not None:
        return scene
    return replace(scene, geobox=GeoBox(box.shape, Affine.translation(1, 1) @ box.affine, None))


def run(trial: WaldTrial, name: str, options: Options) -> Outcome:
    """Let one model sharpen the degraded scene, and score what it makes."""
    # A weights file is named by its path.
    product = trial.folder / (f"{name}.tif" if name == GDAL else f"{name.replace('/', '_')}.zarr")
    resources.reset_peak()
    notes: tuple[str, ...] = ()
    began = time.monotonic()
    try:
        if name == GDAL:
            pansharpen(trial.scene, trial.guides[0], product, trial.geobox)
        else:
            notes = _sharpen(trial, name, options, product)
    except InputError as error:
        # Not ours to mend: GDAL knows fewer grids than we do.
        if name != GDAL:
            raise
        return Outcome(name, product, None, 0.0, 0, (), str(error))
    seconds, peak = time.monotonic() - began, resources.peak()
    scores = score(open_scene(product).source, trial.reference, ratio=trial.scale, jobs=options.jobs)
    return Outcome(name, product, scores, seconds, peak, notes)


def _sharpen(trial: WaldTrial, name: str, options: Options, product: Path) -> tuple[str, ...]:
    """Run a model of ours; return what it has to say."""
    chosen = replace(
        options,
        scale=trial.scale,
        model=name,
        bidx=None,
        gsd=None,
        sensor=None,
        nodata=None,
        resume=False,
        uncertainty=False,
    )
    with warnings.catch_warnings():
        # They stand in the result: the same note by several models would only fill the screen.
        warnings.simplefilter("ignore", DualSRWarning)
        said = upscale(trial.scene, product, rgb=trial.guides if load_model(name).guided else None, options=chosen)
    return tuple(said["notes"])
