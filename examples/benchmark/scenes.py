"""The scenes: reference cubes, and the guides that come with them or are made of them.

They are read from `shared/data` next to the checkout; its README describes each file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import rasterio
from degradations import degraded
from numpy.typing import NDArray
from scipy.io import loadmat
from skimage.io import imread

from dualsr_geo.errors import InputError

Floats = NDArray[np.float32]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# Channels of the 224-band AVIRIS scene of San Diego that its provider left out.
SAN_DIEGO_BAD = {*range(1, 7), 33, 34, 35, 97, *range(107, 114), *range(153, 167), 221, 222, 223, 224}
# Bands 1-5 and 7 of Landsat 7's ETM+.
LANDSAT_NM = (485.0, 560.0, 660.0, 835.0, 1650.0, 2215.0)
# What a pan camera keeps at the lr Nyquist frequency; the usual figure where none is published.
PAN_GAIN = 0.15
# Centre of the fourth band of guides of four.
INFRARED_NM = 840.0
# Side of the middles of the CAVE scenes, hr pixels.
MIDDLE_PX = 256
# Bright small targets: their share of the pixels, their side in hr pixels, and their brightness in that of the scene.
TARGET_SHARE, TARGET_PX, TARGET_BRIGHTNESS = 2e-4, 2, 0.9
VALIDATION = ("sponges", "thread_spools")
TRAINING = (
    "beads", "chart_and_stuffed_toy", "cloth", "egyptian_statue", "fake_and_real_food", "feathers", "flowers",
    "glass_tiles", "oil_painting",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A reference (band, y, x) in 0..1, and what a guide is made of.

    Attributes
    ----------
    cube : array, shape (band, y, x)
        Divided by its maximum.
    wavelengths : array, shape (band,)
        nm; 0, 1, 2, ... where the scene comes with a guide and needs none.
    guide : array, shape (guide band, y, x), optional
        The guide that it comes with, degraded by the ratio of the real pair; in units of the cube.
    rgb : array, shape (3, band), optional
        Responses of a real camera, rows summing to 1.
    gains : tuple of float
        MTF gain at the lr Nyquist frequency: one for all bands, or one a band.
    """

    cube: Floats
    wavelengths: NDArray[np.float64]
    guide: Floats | None = None
    rgb: NDArray[np.float64] | None = None
    gains: tuple[float, ...] = (0.3,)


@lru_cache(maxsize=2)
def load(name: str) -> Scene:
    """Return a scene by its name in `SCENES`.

    Raises
    ------
    InputError
        If the folder of the data is not there.
    """
    if not DATA.is_dir():
        raise InputError(f"There is no folder {DATA}. Put the scenes there, as its README names them.")
    return SCENES[name]()


def cut(scene: Scene, ratio: int) -> Scene:
    """Return the scene without the rows and columns that the ratio does not divide.

    A small scene is cut to twice the ratio, as in the prototypes of docs/algorithm.md.
    """
    step = ratio * (2 if scene.cube.shape[1] < 200 else 1)
    height, width = (n // step * step if n >= 4 * step else n // ratio * ratio for n in scene.cube.shape[1:])
    guide = None if scene.guide is None else np.ascontiguousarray(scene.guide[:, :height, :width])
    return replace(scene, cube=np.ascontiguousarray(scene.cube[:, :height, :width]), guide=guide)


def guide(scene: Scene, kind: str) -> Floats | None:
    """Return a guide, (guide band, y, x): ``"own"``, one of `responses`, or None for ``"none"``."""
    if kind in ("own", "none"):
        return scene.guide if kind == "own" else None
    made: Floats = np.einsum("gb,byx->gyx", responses(scene, kind), scene.cube).astype(np.float32)
    return made


def responses(scene: Scene, kind: str) -> NDArray[np.float64]:
    """Return the spectral responses of a simulated guide, (guide band, band), rows summing to 1.

    ``"rgb"``, ``"pan"``, ``"rg"`` (the first two of ``"rgb"``), or ``"rgbn"`` (with a band in the near infrared, or as
    near to it as the scene has bands).
    """
    nm = scene.wavelengths
    if kind == "rg":
        return responses(scene, "rgb")[:2]
    if kind == "rgbn":
        infrared = np.exp(-0.5 * ((nm - min(INFRARED_NM, nm.max())) / (70 / 2.355)) ** 2)[None]
        return np.concatenate([responses(scene, "rgb"), infrared / infrared.sum()])
    if scene.rgb is not None:
        return scene.rgb if kind == "rgb" else np.full((1, len(nm)), 1 / len(nm))
    if kind == "pan":
        weights = ((nm >= 450) & (nm <= 700)).astype(float)[None]
    else:
        weights = np.exp(-0.5 * ((nm - np.array([[640.0], [550.0], [460.0]])) / (70 / 2.355)) ** 2)
    share: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return share


# ---- files -------------------------------------------------------------------------------


def _mat(path: str) -> dict[str, Any]:
    found: dict[str, Any] = loadmat(DATA / path)
    return found


def hdf5(path: str, key: str) -> Floats:
    """Read a cube of MATLAB 7.3, which stores columns before rows."""
    with h5py.File(DATA / path) as file:
        cube: Floats = np.asarray(file[key], np.float32)
    return cube.transpose(0, 2, 1)


def tif(path: str) -> Floats:
    """Read a raster, (band, y, x)."""
    with rasterio.open(DATA / path) as file:
        read: Floats = file.read().astype(np.float32)
    return read


def unit(cube: NDArray[Any]) -> Floats:
    """Divide by the largest value."""
    floats: Floats = np.ascontiguousarray(cube, dtype=np.float32)
    return np.asarray(floats / floats.max(), np.float32)


def _aviris_nm() -> NDArray[np.float64]:
    found: NDArray[np.float64] = _mat("hyperspectral/hsitk_a_hsi_img_for_VI_demo.mat")["wavelengths"].ravel()
    return found


# ---- hyperspectral -----------------------------------------------------------------------


def _cave(name: str) -> Scene:
    files = sorted((DATA / "cave" / name).glob("*.png"))
    cube = np.stack([imread(f).astype(np.float32) / 65535 for f in files])
    return Scene(cube, np.arange(400.0, 701.0, 10.0), rgb=_mat("srf/mogdcn_P.mat")["P"])


def _jasper() -> Scene:
    d = _mat("hyperspectral/jasperRidge2_R198.mat")
    cube = d["Y"].reshape(198, 100, 100).transpose(0, 2, 1)
    return Scene(unit(cube), _aviris_nm()[d["SlectBands"].ravel().astype(int) - 1])


def _san_diego() -> Scene:
    cube = _mat("hyperspectral/lren_sandiego_plane.mat")["data"].transpose(2, 0, 1)
    good = [i - 1 for i in range(1, 225) if i not in SAN_DIEGO_BAD]
    return Scene(unit(cube), _aviris_nm()[good])


def _enmap() -> Scene:
    with rasterio.open(DATA / "hyperspectral/enmap_potsdam_NW_64x96.tif") as file:
        nm = np.array([float(file.tags(i)["wavelength"]) for i in file.indexes])
        cube = file.read().astype(np.float32)
    good = (cube > -1000).all((1, 2))
    return Scene(unit(cube[good]), (nm * 1000 if nm.max() < 100 else nm)[good])


def _samson() -> Scene:
    cube = _mat("hyperspectral/samson.mat")["Y"].reshape(156, 95, 95).transpose(0, 2, 1)
    return Scene(unit(cube), np.linspace(401, 889, 156))


def _moffett() -> Scene:
    """Load Moffett Field; only the visible part of its wavelengths is right.

    The file has none. Vegetation's green peak (550 nm) and red edge (714 nm) are in its bands
    15 and 34, so it starts at AVIRIS's sixth channel; what was left out beyond the visible matters to no guide.
    """
    cube = _mat("hyperspectral/moffett.mat")["Y"].reshape(184, 50, 50).transpose(0, 2, 1)
    return Scene(unit(cube), _aviris_nm()[5 : 5 + len(cube)])


def _airport() -> Scene:
    """Load an airport of the ABU set; only the visible part of its wavelengths is right.

    The file has none. Oxygen's line at 763 nm and water's at 724 nm are in its bands 44 and 40,
    as in AVIRIS's own table.
    """
    cube = hdf5("hyperspectral/abu-airport-4.mat", "hsi")
    return Scene(unit(cube), _aviris_nm()[: len(cube)])


def _hsitk() -> Scene:
    d = _mat("hyperspectral/hsitk_a_hsi_img_for_VI_demo.mat")
    cube = d["hsi_img"].transpose(2, 0, 1)
    some = cube.any((1, 2))
    return Scene(unit(cube[some]), d["wavelengths"].ravel()[some])


# ---- multispectral -----------------------------------------------------------------------


def _worldview() -> Scene:
    """Load WorldView-2: its eight bands come from two detectors, of MTF gains 0.35 and 0.27."""
    d = _mat("multispectral/pnn_imgWV2.mat")
    pan = d["I_PAN"].astype(np.float32)[None] / 2047
    cube = d["I_MS"].transpose(2, 0, 1).astype(np.float32) / 2047
    return Scene(cube, np.arange(8.0), degraded(pan, 4, PAN_GAIN), gains=(*[0.35] * 7, 0.27))


def _spacenet() -> Scene:
    cube, pan = tif("multispectral/solaris_SN6_ms1_native2m.tif"), tif("multispectral/solaris_SN6_pan1.tif")[:1]
    part = np.s_[:, :144, :144]
    return Scene(unit(cube)[part], np.arange(4.0), (degraded(pan, 4, PAN_GAIN) / cube.max())[part])


def _sentinel() -> Scene:
    """Load Sentinel-2: the 20 m bands, guided by the 10 m bands."""
    read = partial(hdf5, "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat")
    cube, fine = read("im20"), read("im10")
    return Scene(unit(cube), np.arange(6.0), degraded(fine, 2, 0.3) / cube.max())


def _landsat() -> Scene:
    return Scene(unit(tif("multispectral/stars_L7_ETMs.tif")), np.array(LANDSAT_NM))


def middle(name: str) -> Scene:
    """Return the central `MIDDLE_PX` x `MIDDLE_PX` pixels of a scene that comes without a guide."""
    scene = SCENES[name]()
    y, x = ((n - MIDDLE_PX) // 2 for n in scene.cube.shape[1:])
    return replace(scene, cube=np.ascontiguousarray(scene.cube[:, y : y + MIDDLE_PX, x : x + MIDDLE_PX]))


def with_targets(name: str) -> Scene:
    """Return a scene with bright small targets of a spectrum of its own: its brightest pixel's, reversed."""
    scene = SCENES[name]()
    cube = scene.cube.copy()
    spectrum = cube.reshape(len(cube), -1)[:, cube.sum(0).argmax()][::-1]
    count = max(1, round(TARGET_SHARE * cube[0].size / TARGET_PX**2))
    rng = np.random.default_rng(0)
    for y, x in zip(*(rng.integers(0, n - TARGET_PX, count) for n in cube.shape[1:]), strict=True):
        bright = TARGET_BRIGHTNESS * spectrum / spectrum.max()
        cube[:, y : y + TARGET_PX, x : x + TARGET_PX] = bright[:, None, None]
    return replace(scene, cube=cube)


SCENES: dict[str, Callable[[], Scene]] = {
    **{name: partial(_cave, name) for name in VALIDATION},
    **{f"cave-{name}": partial(_cave, name) for name in TRAINING},
    "jasper": _jasper,
    "sandiego": _san_diego,
    "enmap": _enmap,
    "samson": _samson,
    "moffett": _moffett,
    "abu-airport-4": _airport,
    "hsitk": _hsitk,
    "wv2": _worldview,
    "sn6": _spacenet,
    "dsen2": _sentinel,
    "landsat": _landsat,
    **{f"{name}-middle": partial(middle, name) for name in VALIDATION},
    "jasper-targets": partial(with_targets, "jasper"),
    "thread_spools-targets": partial(with_targets, "thread_spools-middle"),
}
