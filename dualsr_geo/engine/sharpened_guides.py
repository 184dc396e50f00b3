"""Guides in two steps: a delivered product whose coarser bands are first sharpened by its own finest bands.

The first step is a run of `regression` whose tiles are computed when the second step reads them; nothing is written. A tile
is a pure function of the product's files, so it has the same values in every thread, process and worker.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.on_the_fly.window_sharpener import WindowSharpener
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.errors import GridError
from dualsr_geo.io.scenes import Raster, open_guides, open_own_bands
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster import grid
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import BaseSource
from dualsr_geo.raster.windows import Window

# Model of the first step: without a network, so that it runs the same everywhere.
MODEL = "regression"
# Side of its tiles, pixels of the coarser bands; fixed, since the values depend on it by their last bits.
TILE = 128
# Tiles that a process keeps, bytes: those that the neighbouring tiles of the second step read again.
CACHE_BYTES = 2**28
# Surveys of products that a process keeps.
MAX_SURVEYS = 4

Value = TypeVar("Value")


@dataclass(frozen=True)
class SharpenedSource(BaseSource):
    """The coarser bands of a product, sharpened by its finest bands where they are read.

    Attributes
    ----------
    plan : RunPlan
        Of the first step.
    indices : tuple of int
        Zero-based bands of its product.
    """

    plan: RunPlan
    indices: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        height, width = self.plan.target.shape
        return len(self.indices), int(height), int(width)

    @property
    def masked(self) -> bool:
        """Whether values can be missing; they are where the product has none."""
        return True

    @property
    def estimated(self) -> bool:
        """True: the first step estimates the values."""
        return True

    @property
    def sentence(self) -> str:
        """The first step in words."""
        coarse, fine, unit = (
            grid.gsd(self.plan.scene.geobox),
            grid.gsd(self.plan.target),
            grid.unit(self.plan.target),
        )
        count = 0 if self.plan.guide is None else self.plan.guide.count
        return (
            f"The guide's {len(self.indices)} bands at {coarse:.4g} {unit} are first sharpened to {fine:.4g} {unit} by "
            f"its {count} band{'s' * (count != 1)} at {fine:.4g} {unit}."
        )

    def select(self, indices: Sequence[int]) -> SharpenedSource:
        """Return the source of some of the bands, zero-based."""
        return replace(self, indices=tuple(self.indices[i] for i in indices))

    def normalized(self, normalization: Normalization) -> SharpenedSource:
        """Raise TypeError: only scenes are normalized."""
        raise TypeError(f"A sharpened guide is not shifted and scaled (unit {normalization.unit})")

    def files_read(self) -> tuple[str, ...]:
        """Return the files of the product."""
        return self.plan.input_files

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the first step, and the bands."""
        return {"sharpened": dict(self.plan.identity), "bands": list(self.indices)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        ratio, side = self.plan.ratio, TILE * self.plan.ratio
        rows = [self.indices[band] for band in bands]
        out = np.full((len(rows), *window.shape), np.nan, np.float32)
        for y in range(window.y0 // side * side, window.y1, side):
            for x in range(window.x0 // side * side, window.x1, side):
                extent = Window(y, y + side, x, x + side).clipped(self.shape[1:])
                part = Window(
                    max(extent.y0, window.y0),
                    min(extent.y1, window.y1),
                    max(extent.x0, window.x0),
                    min(extent.x1, window.x1),
                )
                values = _tile(self.plan, extent, ratio)[rows]
                out[:, *part.within(window).slices] = values[:, *part.within(extent).slices]
        return out


def open_guide_images(images: Sequence[Raster], options: Options) -> list[Scene]:
    """Open the guides that paths and arrays offer: of a product as delivered all bands, the coarser ones sharpened.

    Parameters
    ----------
    images : sequence of path, DataArray or Dataset
    options : Options
        Only models with spectral components take the coarser bands: others make one band of a guide.

    Returns
    -------
    list of Scene
        The finest bands of a product, and its coarser bands on their grid; other images as they are.
    """
    opened: list[Scene] = []
    for image in images:
        guides = open_guides(image, trust_references=options.trust_references)
        opened += guides
        own = open_own_bands(image, trust_references=options.trust_references)
        if own is not None and load_model(options.model, published=options.published).spectral:
            opened += _sharpened(own, guides)
    return opened


def describe_steps(guides: Sequence[Scene]) -> tuple[str, ...]:
    """Return a sentence for each guide that is made in two steps."""
    return tuple(guide.source.sentence for guide in guides if isinstance(guide.source, SharpenedSource))


def _sharpened(scene: Scene, guides: Sequence[Scene]) -> list[Scene]:
    """Return the coarser bands of a product as they are sharpened by its finest bands; none if these are not twice as sharp."""
    try:
        plan = plan_run(scene, guides, Options(model=MODEL, dtype="float32", tile=TILE, device="cpu"))
    except GridError:
        return []
    files = dict.fromkeys(file for s in (scene, *guides) for file in s.source.files_read())
    source = SharpenedSource(replace(plan, input_files=tuple(files)), tuple(range(scene.count)))
    return [replace(scene, source=source, geobox=plan.target, packing=plan.packing)]


# ---- what a process keeps ----------------------------------------------------------------


@dataclass
class _Once(Generic[Value]):
    """Values that are computed once by several threads, the least used of them forgotten beyond a size."""

    size: Callable[[Value], int]
    limit: int
    values: OrderedDict[Hashable, Value] = field(default_factory=OrderedDict)
    locks: dict[Hashable, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now if it is not kept."""
        with self.lock:
            own = self.locks.setdefault(key, threading.Lock())
        with own:
            with self.lock:
                if key in self.values:
                    self.values.move_to_end(key)
                    return self.values[key]
            value = make()
            with self.lock:
                self.values[key] = value
                self._forget()
            return value

    def _forget(self) -> None:
        while len(self.values) > 1 and sum(map(self.size, self.values.values())) > self.limit:
            forgotten, _ = self.values.popitem(last=False)
            self.locks.pop(forgotten, None)


_SHARPENERS: _Once[WindowSharpener] = _Once(lambda _: 1, MAX_SURVEYS)
_TILES: _Once[NDArray[np.float32]] = _Once(lambda tile: tile.nbytes, CACHE_BYTES)


def _tile(plan: RunPlan, extent: Window, ratio: int) -> NDArray[np.float32]:
    """Return a tile of the first step, all bands."""
    key = json.dumps(plan.identity, sort_keys=True, default=str)

    def make() -> NDArray[np.float32]:
        values = _SHARPENERS.get(key, lambda: _sharpener(plan)).read(extent)
        return values.astype(np.float32, copy=False)

    return _TILES.get((key, extent, ratio), make)


def _sharpener(plan: RunPlan) -> WindowSharpener:
    """Survey the product, and return what computes its tiles."""
    survey = survey_scene(plan.inputs, plan.scene.shape, plan.survey_options)
    return WindowSharpener(plan.scene, plan.target, plan.inputs, plan.context_for(survey), by_tiles=True)
