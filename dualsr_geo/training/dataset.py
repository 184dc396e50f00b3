"""References of high resolution: scenes to train a network on, or to validate it.

A reference is divided by its largest value, CAVE's 16 bit PNGs by 65535. It has no nodata: bands
without values are left out, and a scene with holes is cut into the largest blocks without any.
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
from dualsr_geo.io.storage.side_files import ZARR_DOCUMENTS
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.raster.windows import Window

# Suffixes of scenes in a folder; a path of a file is opened whatever its suffix.
SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".nc", ".zarr", ".img", ".dat", ".bsq", ".bil", ".bip"}
# CAVE: 31 bands, 400 to 700 nm.
CAVE_NM = np.arange(400.0, 701.0, 10.0)
# Largest number of blocks that a scene with holes is cut into.
MAX_BLOCKS = 8
# Such blocks are multiples of a patch's side divided by this.
CELLS_PER_PATCH_SIDE = 4
# Share of the scenes, or of the rows of a single scene, that is used for validation.
VALIDATION_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Reference:
    """A scene of high resolution.

    Attributes
    ----------
    name : str
    cube : array of float32, shape (band, y, x)
        At most 1, without NaN.
    wavelengths_nm : array, shape (band,), or None
        None unless those of all bands are known.
    """

    name: str
    cube: NDArray[np.float32]
    wavelengths_nm: NDArray[np.float64] | None = None

    def cut(self, window: Window, name: str) -> Reference:
        """Return a window of the scene under another name."""
        return replace(self, name=name, cube=np.ascontiguousarray(self.cube[:, *window.slices]))


def load(paths: Sequence[Path], side: int) -> list[Reference]:
    """Load references.

    Parameters
    ----------
    paths : sequence of path
        Scenes that `open_scene` opens, folders of them, CAVE's scenes (folders of one-band PNGs),
        or folders of such.
    side : int
        Side of the patches, hr pixels; no reference is smaller.

    Returns
    -------
    list of Reference
        In the order of `paths`, those of a folder sorted; names are distinct.

    Raises
    ------
    InputError
        If there is no scene, or one cannot be read, has no value, or is smaller than a patch.
    """
    scenes = [scene for path in paths for scene in scenes_in(path)]
    if not scenes:
        given = ", ".join(map(str, paths)) or "nothing"
        raise InputError(f"There is no scene in {given}. Give scenes, folders of scenes, or CAVE's folders of PNGs.")
    names = [_name(scene) for scene in scenes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Several references are called {', '.join(twice)}. Rename them: names identify references.")
    return [part for name, path in zip(names, scenes, strict=True) for part in _without_holes(_read(path, name), side)]


def scenes_in(path: Path) -> Iterator[Path]:
    """Yield the path of a scene itself, or those of the scenes in a folder and its subfolders, sorted.

    Raises
    ------
    InputError
        If it does not exist.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist. Give scenes, or folders of scenes.")
    if not path.is_dir() or _is_scene(path):
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.name.startswith("."):
            continue
        if child.is_dir():
            yield from scenes_in(child)
        elif child.suffix.lower() in SUFFIXES or (not child.suffix and child.with_name(f"{child.name}.hdr").exists()):
            yield child


def split(references: Sequence[Reference], names: Sequence[str], side: int) -> tuple[list[Reference], list[Reference]]:
    """Split references into those for training and those for validation.

    Parameters
    ----------
    references : sequence of Reference
    names : sequence of str
        Names of those for validation. Without names it is every fifth scene; of a single scene the
        last fifth of its longer axis.
    side : int
        Side of the patches, hr pixels.

    Raises
    ------
    OptionError
        If a name is unknown, or no reference is left for training.
    InputError
        If a single scene is too small to be cut.
    """
    if not names:
        return _cut_in_two(references[0], side) if len(references) == 1 else _every_fifth(references)
    unknown = sorted(set(names) - {_scene_of(r) for r in references})
    if unknown:
        scenes = ", ".join(sorted({_scene_of(r) for r in references}))
        raise OptionError(f"--validate {unknown[0]} is none of the references: {scenes}.")
    training = [r for r in references if _scene_of(r) not in names]
    if not training:
        raise OptionError(f"--validate names all {len(references)} references. Leave some to learn from.")
    return training, [r for r in references if _scene_of(r) in names]


def _every_fifth(references: Sequence[Reference]) -> tuple[list[Reference], list[Reference]]:
    step = min(len(references), round(1 / VALIDATION_SHARE))
    validation = references[step - 1 :: step]
    return [r for r in references if r not in validation], list(validation)


def _cut_in_two(scene: Reference, side: int) -> tuple[list[Reference], list[Reference]]:
    """Cut a single scene across its longer axis."""
    height, width = scene.cube.shape[1:]
    length = max(height, width)
    validation_length = max(side, round(VALIDATION_SHARE * length))
    cut = length - validation_length
    if cut < side:
        raise InputError(
            f"{scene.name} has {height} x {width} pixels: too few for patches of {side} and others to validate on. "
            "Give more scenes, or a smaller --patch."
        )
    first, last = (
        (Window(0, cut, 0, width), Window(cut, height, 0, width))
        if height >= width
        else (Window(0, height, 0, cut), Window(0, height, cut, width))
    )
    return [scene.cut(first, scene.name)], [scene.cut(last, f"{scene.name}-end")]


# ---- reading -----------------------------------------------------------------------------


def _name(path: Path) -> str:
    return path.stem if path.is_file() or path.suffix == ".zarr" else path.name


def _scene_of(reference: Reference) -> str:
    """Return the name of the scene that a reference is a block of."""
    return reference.name.partition("#")[0]


def _is_scene(folder: Path) -> bool:
    return bool(_pngs(folder)) or any((folder / name).exists() for name in ZARR_DOCUMENTS)


def _pngs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def _read(path: Path, name: str) -> Reference:
    if path.is_dir() and _pngs(path):
        return _read_pngs(_pngs(path), name)
    scene = open_scene(path)
    height, width = scene.shape
    cube = scene.source.read(Window(0, height, 0, width))
    usable = np.isfinite(cube).any((1, 2)) & np.array([band.good for band in scene.bands])
    largest = float(np.nanmax(cube[usable])) if usable.any() else 0.0
    if not largest > 0:
        raise InputError(f"{path} has no value above 0: nothing can be learned from it. Leave it out.")
    nm = [band.wavelength_nm for band, is_usable in zip(scene.bands, usable, strict=True) if is_usable]
    wavelengths_nm = None if any(n is None for n in nm) else np.array(nm, np.float64)
    return Reference(name, (cube[usable] / largest).astype(np.float32), wavelengths_nm)


def _read_pngs(files: Sequence[Path], name: str) -> Reference:
    """Read a scene of one-band PNGs; its wavelengths are CAVE's if it has as many bands."""
    planes: list[NDArray[np.float32]] = []
    for file in files:
        require_no_special_file(file)
        with Image.open(file) as image:
            plane = np.asarray(image)
        if plane.ndim != 2 or (planes and plane.shape != planes[0].shape):
            first = planes[0].shape if planes else "one band"
            raise InputError(f"{file} is {plane.shape}, not {first} like the others. Give one-band PNGs of one size.")
        planes.append(np.divide(plane, 255 if plane.dtype == np.uint8 else 65535, dtype=np.float32))
    return Reference(name, np.stack(planes), CAVE_NM if len(planes) == len(CAVE_NM) else None)


# ---- holes -------------------------------------------------------------------------------


def _without_holes(reference: Reference, side: int) -> list[Reference]:
    """Return the reference, or its largest blocks without holes that are large enough for a patch."""
    valid = np.asarray(np.isfinite(reference.cube).all(0))
    height, width = valid.shape
    if min(height, width) < side:
        raise InputError(
            f"{reference.name} has {height} x {width} pixels, a patch has {side} x {side}. "
            "Leave it out, or give a smaller --patch."
        )
    if valid.all():
        return [reference]
    blocks = list(_blocks(valid, side))
    if not blocks:
        raise InputError(
            f"{reference.name} has no {side} x {side} pixels without nodata. Leave it out, or give a smaller --patch."
        )
    share = sum(map(_area, blocks)) / valid.sum()
    warnings.warn(f"{reference.name} has holes; {share:.0%} of its valid pixels are used.", DualSRWarning, stacklevel=2)
    return [reference.cut(block, f"{reference.name}#{k}") for k, block in enumerate(blocks, 1)]


def _blocks(valid: NDArray[np.bool_], side: int) -> Iterator[Window]:
    """Yield rectangles of cells without holes, largest first, each at least as large as a patch."""
    cell = max(1, side // CELLS_PER_PATCH_SIDE)
    rows, columns = (n // cell for n in valid.shape)
    cells = valid[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    free = np.asarray(cells.all((1, 3)))
    min_side = -(-side // cell)
    for _ in range(MAX_BLOCKS):
        rectangle = largest_rectangle(free, min_side)
        if rectangle is None:
            return
        free[rectangle.slices] = False
        yield rectangle.scaled(cell)


def largest_rectangle(free: NDArray[np.bool_], min_side: int) -> Window | None:
    """Return the largest rectangle of True with sides of at least `min_side`; None if there is none.

    Row by row: the number of True above each cell, then the widest run of every height.
    """
    best: Window | None = None
    above = np.zeros(free.shape[1], int)
    for y, row in enumerate(free, 1):
        above = np.where(row, above + 1, 0)
        for height in np.unique(above[above >= min_side]).tolist():
            for x0, x1 in _runs(above >= height):
                if x1 - x0 >= min_side and (best is None or height * (x1 - x0) > _area(best)):
                    best = Window(y - height, y, x0, x1)
    return best


def _area(window: Window) -> int:
    height, width = window.shape
    return height * width


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
