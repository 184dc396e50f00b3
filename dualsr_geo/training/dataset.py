"""High-resolution references: scenes that a network learns from, or is validated on.

A reference is divided by its own largest value, CAVE's 16 bit PNGs by 65535; it has no holes: bands
that hold nothing are left out, and a scene with holes becomes the largest blocks without any.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.object_store import ZARR_DOCUMENTS
from dualsr_geo.raster.windows import Window

# Suffixes of scenes in a folder; a single file is opened whatever it is called.
SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".nc", ".zarr", ".img", ".dat", ".bsq", ".bil", ".bip"}
# CAVE: 31 bands, 400 to 700 nm.
CAVE_NM = np.arange(400.0, 701.0, 10.0)
# Blocks that a scene with holes is cut into, and the grain in which they are found, share of a side.
MOST_BLOCKS, GRAIN = 8, 4
# Share of scenes, or of a single scene's rows, that is kept back for validation.
VALIDATION_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Reference:
    """A scene in full resolution.

    Attributes
    ----------
    name : str
    cube : array of float32, shape (band, y, x)
        At most 1, without NaN.
    wavelengths_nm : array, shape (band,), or None
        Where all of them are known.
    """

    name: str
    cube: NDArray[np.float32]
    wavelengths_nm: NDArray[np.float64] | None = None

    def cut(self, window: Window, name: str) -> Reference:
        """Return a part of it under another name."""
        return replace(self, name=name, cube=np.ascontiguousarray(self.cube[:, *window.slices]))


def load(places: Sequence[Path], side: int) -> list[Reference]:
    """Load references.

    Parameters
    ----------
    places : sequence of path
        Scenes, whatever `open_scene` opens; folders of them; scenes as CAVE has them, a folder of
        one-band PNGs each; folders of such.
    side : int
        Of the patches wanted, hr pixels; no reference is smaller.

    Returns
    -------
    list of Reference
        Sorted as found, names distinct.

    Raises
    ------
    InputError
        If there is none, one cannot be read, holds nothing, or is smaller than a patch.
    """
    found = [scene for place in places for scene in scenes_in(place)]
    if not found:
        said = ", ".join(map(str, places)) or "nothing"
        raise InputError(f"There is no scene in {said}. Give scenes, folders of scenes, or CAVE's folders of PNGs.")
    names = [_name(scene) for scene in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Several references are called {', '.join(twice)}. Rename them: they are told apart by name.")
    return [part for name, place in zip(names, found, strict=True) for part in _without_holes(_read(place, name), side)]


def scenes_in(place: Path) -> Iterator[Path]:
    """Yield the scenes of a place: itself, or those of a folder and of its folders, sorted.

    Raises
    ------
    InputError
        If it does not exist.
    """
    if not place.exists():
        raise InputError(f"{place} does not exist. Give scenes, or folders of scenes.")
    if not place.is_dir() or _is_scene(place):
        yield place
        return
    for child in sorted(place.iterdir()):
        if child.name.startswith("."):
            continue
        if child.is_dir():
            yield from scenes_in(child)
        elif child.suffix.lower() in SUFFIXES or (not child.suffix and child.with_name(f"{child.name}.hdr").exists()):
            yield child


def split(references: Sequence[Reference], names: Sequence[str], side: int) -> tuple[list[Reference], list[Reference]]:
    """Return what is learned from and what validates.

    Parameters
    ----------
    references : sequence of Reference
    names : sequence of str
        Of those that validate. Without names it is every fifth scene; of a single one the last
        fifth of its longer axis.
    side : int
        Of the patches wanted, hr pixels.

    Raises
    ------
    OptionError
        If a name is unknown, or nothing is left to learn from.
    InputError
        If a single scene is too small to be cut.
    """
    if not names:
        return _apart(references[0], side) if len(references) == 1 else _every_fifth(references)
    unknown = sorted(set(names) - {_scene_of(r) for r in references})
    if unknown:
        known = ", ".join(sorted({_scene_of(r) for r in references}))
        raise OptionError(f"--validate {unknown[0]} is none of the references: {known}.")
    learned = [r for r in references if _scene_of(r) not in names]
    if not learned:
        raise OptionError(f"--validate names all {len(references)} references. Leave some to learn from.")
    return learned, [r for r in references if _scene_of(r) in names]


def _every_fifth(references: Sequence[Reference]) -> tuple[list[Reference], list[Reference]]:
    step = min(len(references), round(1 / VALIDATION_SHARE))
    kept = references[step - 1 :: step]
    return [r for r in references if r not in kept], list(kept)


def _apart(only: Reference, side: int) -> tuple[list[Reference], list[Reference]]:
    """Cut a single scene across its longer axis."""
    height, width = only.cube.shape[1:]
    longer = max(height, width)
    kept = max(side, round(VALIDATION_SHARE * longer))
    if longer - kept < side:
        raise InputError(
            f"{only.name} has {height} x {width} pixels: too few for patches of {side} and others to validate on. "
            "Give more scenes, or a smaller --patch."
        )
    at = longer - kept
    first, last = (
        (Window(0, at, 0, width), Window(at, height, 0, width))
        if height >= width
        else (Window(0, height, 0, at), Window(0, height, at, width))
    )
    return [only.cut(first, only.name)], [only.cut(last, f"{only.name}-end")]


# ---- reading -----------------------------------------------------------------------------


def _name(place: Path) -> str:
    return place.stem if place.is_file() or place.suffix == ".zarr" else place.name


def _scene_of(reference: Reference) -> str:
    """Return the name of the scene that a block is of."""
    return reference.name.partition("#")[0]


def _is_scene(folder: Path) -> bool:
    return bool(_pngs(folder)) or any((folder / name).exists() for name in ZARR_DOCUMENTS)


def _pngs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def _read(place: Path, name: str) -> Reference:
    if place.is_dir() and _pngs(place):
        return _read_pngs(_pngs(place), name)
    scene = open_scene(place)
    height, width = scene.shape
    cube = scene.source.read(Window(0, height, 0, width))
    there = np.isfinite(cube).any((1, 2)) & np.array([band.good for band in scene.bands])
    largest = float(np.nanmax(cube[there])) if there.any() else 0.0
    if not largest > 0:
        raise InputError(f"{place} holds no value above 0: nothing can be learned from it. Leave it out.")
    nm = [band.wavelength_nm for band, kept in zip(scene.bands, there, strict=True) if kept]
    known = None if any(n is None for n in nm) else np.array(nm, np.float64)
    return Reference(name, (cube[there] / largest).astype(np.float32), known)


def _read_pngs(files: Sequence[Path], name: str) -> Reference:
    """Read a scene as CAVE has it; wavelengths are CAVE's where there are as many bands."""
    planes: list[NDArray[np.float32]] = []
    for file in files:
        with Image.open(file) as image:
            plane = np.asarray(image)
        if plane.ndim != 2 or (planes and plane.shape != planes[0].shape):
            first = planes[0].shape if planes else "one band"
            raise InputError(f"{file} is {plane.shape}, not {first} as the others. Give one-band PNGs of one size.")
        planes.append(np.divide(plane, 255 if plane.dtype == np.uint8 else 65535, dtype=np.float32))
    return Reference(name, np.stack(planes), CAVE_NM if len(planes) == len(CAVE_NM) else None)


# ---- holes -------------------------------------------------------------------------------


def _without_holes(reference: Reference, side: int) -> list[Reference]:
    """Return the reference, or its largest blocks without holes that hold a patch."""
    whole = np.asarray(np.isfinite(reference.cube).all(0))
    height, width = whole.shape
    if min(height, width) < side:
        raise InputError(
            f"{reference.name} has {height} x {width} pixels, a patch has {side} x {side}. "
            "Leave it out, or give a smaller --patch."
        )
    if whole.all():
        return [reference]
    blocks = list(_blocks(whole, side))
    if not blocks:
        raise InputError(
            f"{reference.name} has no {side} x {side} pixels without nodata. Leave it out, or give a smaller --patch."
        )
    share = sum(map(_area, blocks)) / whole.sum()
    warnings.warn(f"{reference.name} has holes; {share:.0%} of what is there is used.", DualSRWarning, stacklevel=2)
    return [reference.cut(block, f"{reference.name}#{k}") for k, block in enumerate(blocks, 1)]


def _blocks(whole: NDArray[np.bool_], side: int) -> Iterator[Window]:
    """Yield rectangles of cells that hold no hole, largest first, each at least a patch."""
    grain = max(1, side // GRAIN)
    rows, columns = (n // grain for n in whole.shape)
    cut = whole[: rows * grain, : columns * grain].reshape(rows, grain, columns, grain)
    free = np.asarray(cut.all((1, 3)))
    least = -(-side // grain)
    for _ in range(MOST_BLOCKS):
        found = largest_rectangle(free, least)
        if found is None:
            return
        free[found.slices] = False
        yield found.scaled(grain)


def largest_rectangle(free: NDArray[np.bool_], least: int) -> Window | None:
    """Return the largest rectangle of True, of at least `least` a side; None if there is none.

    Row by row: how many True lie above each cell, then the widest run of every height.
    """
    best: Window | None = None
    above = np.zeros(free.shape[1], int)
    for y, row in enumerate(free, 1):
        above = np.where(row, above + 1, 0)
        for height in np.unique(above[above >= least]).tolist():
            for x0, x1 in _runs(above >= height):
                if x1 - x0 >= least and (best is None or height * (x1 - x0) > _area(best)):
                    best = Window(y - height, y, x0, x1)
    return best


def _area(window: Window) -> int:
    height, width = window.shape
    return height * width


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
