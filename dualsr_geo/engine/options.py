"""The options of a run, and checks that need nothing but the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.option_types import TYPES
from dualsr_geo.engine.tile_size import MAX_TILE_SIDE, MIN_TILE_SIDE
from dualsr_geo.errors import KeywordError, OptionError
from dualsr_geo.messages import unknown_name
from dualsr_geo.raster.packing import Nodata

FineStageName = Literal["none", "consistency", "backprojection", "backprojection-pixel", "finenet", "finenet-per-tile"]
Precision = Literal["float32", "bfloat16"]
Coregistration = Literal["auto", "local", "off"]
ChangeHandling = Literal["auto", "off"]
Denoising = Literal["auto", "off"]
Device = Literal["auto", "cpu", "cuda"]
Gsd = float | Literal["all"] | None
Uncertainty = bool | Literal["bands", "separate"]

# Largest difference of a sum of taps from 1: taps printed with four digits pass.
TAP_SUM_TOLERANCE = 1e-3
# Largest sum of the magnitudes of taps: a blur without negative taps has 1, and one with the side lobes of a sinc 1.5.
MAX_TAP_MAGNITUDE = 3.0
# A square has four quarter turns, each mirrored or not.
MAX_ORIENTATIONS = 8


@dataclass(frozen=True)
class Options:
    """What a user may decide about a run.

    Attributes
    ----------
    scale : int or None
        Ratio; left out with a guide, the largest integer not above the GSD ratio.
    model : str
        The coarse model: a name (``"auto"``, ``"regression"``, ...) or the weights file of a network.
    fine : str or None
        The fine stage: ``"none"``, ``"consistency"``, ``"backprojection"``, ``"backprojection-pixel"``, ``"finenet"`` or
        ``"finenet-per-tile"``; left out, the model's own.
    half_model : str or None
        Weights of half the ratio, for the fine stage ``"backprojection"`` of networks.
    published : bool
        Let a network compute what its authors' published code computes, defects included.
    precision : str
        What a network computes in: ``"float32"``, or ``"bfloat16"``, faster and within 1e-3 of the range.
    spectral : int or None
        Number of bands that our own networks run on; the other bands follow by linear relations of the
        scene. Left out, 8; of noisy scenes 8 components. A number above the scene's is all.
    orientations : int
        Number of flips and quarter turns over which the network without a guide is averaged, 1 to 8.
    uncertainty : bool or str
        Whether the product has a standard deviation for every value: in a GeoTIFF as further bands (True or ``"bands"``),
        or in a second file next to it, ``scene_x4_sigma.tif`` (``"separate"``); in Zarr and netCDF as a variable.
    coregister : str
        ``"auto"`` shifts a displaced guide as a whole, ``"local"`` also undoes its local displacement,
        ``"off"`` leaves it and warns.
    changes : str
        ``"auto"`` leaves the guide out where it shows something else than the scene, ``"off"`` uses it everywhere.
    denoise : str
        ``"auto"`` denoises the guide where its noise costs more than the filter, ``"off"`` uses it as it is.
    psf : Psf or None
        A known blur; nothing is estimated then.
    mtf_gain : float or None
        The sensor's MTF gain at Nyquist, used unless the scene contradicts it; it wins over `sensor`'s.
    bidx : str or None
        Bands of the scene, ``"1,3..5"``.
    gsd : float or str, or None
        Which bands of a product with several pixel sizes, metres. ``"all"`` makes a product of each size that is coarser
        than the finest one; for `upscale` and `batch`.
    sensor : str or None
        The sensor that took the scene, by its name in the registry; left out, the metadata decides.
    wavelengths : str or sequence of float, or None
        Those of the scene's bands, instead of the file's: a text or CSV file, first and last in nm (``"400:2500"``),
        bands of a sensor (``"aviris-classic:4..107,113..153"``), or numbers.
    tile : int or None
        Side of a tile's core, lr pixels; left out, `max_memory` decides.
    jobs : int or None
        Tiles at once; left out, one a core.
    max_memory : int or None
        Bytes, or text such as ``"4GB"``, which is converted; left out, half of the machine's memory.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    format : str or None
        Format of a product on disk: ``"COG"``, ``"GTiff"`` or ``"Zarr"``; left out, the suffix of its name decides.
    dtype : str or None
        Data type of the product; left out, the scene's.
    nodata : float or str, or None
        Nodata value of the scene or, with a `dtype`, of the product; ``"auto"`` is the value of undeclared fill, if the
        scene has some.
    creation : mapping or sequence of pairs
        Creation options of the GDAL driver of a product on disk.
    overwrite : bool
        Replace an existing product on disk.
    resume : bool
        Continue an interrupted run to disk.
    trust_references : bool
        Whether scene and guides may refer to files outside their folders (VRT, HDF5), and any driver of GDAL opens them.
    work_dir : str or None
        Where a TIFF for an object store is made on disk; left out, the current directory.
    """

    scale: int | None = None
    # Method.
    model: str = "auto"
    fine: FineStageName | None = None
    half_model: str | None = None
    published: bool = False
    precision: Precision = "float32"
    spectral: int | None = None
    orientations: int = 1
    uncertainty: Uncertainty = False
    # Registration and blur.
    coregister: Coregistration = "auto"
    changes: ChangeHandling = "auto"
    denoise: Denoising = "auto"
    psf: Psf | None = None
    mtf_gain: float | None = None
    # Scene.
    bidx: str | None = None
    gsd: Gsd = None
    sensor: str | None = None
    wavelengths: str | tuple[float, ...] | None = None
    trust_references: bool = False
    # Tiles and machine.
    tile: int | None = None
    jobs: int | None = None
    max_memory: int | None = None
    device: Device = "auto"
    # Product.
    format: str | None = None
    dtype: str | None = None
    nodata: Nodata = None
    creation: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    resume: bool = False
    work_dir: str | None = None

    @property
    def gsd_m(self) -> float | None:
        """The pixel size of the bands of one product, metres.

        Raises
        ------
        OptionError
            If it is ``"all"``.
        """
        if self.gsd == "all":
            raise OptionError(
                "--gsd all makes a product of each pixel size with upscale and batch. Give one size, e.g. 20."
            )
        return self.gsd

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            check = TYPES.get(field.name)
            if check is None or (value is None and field.default is None):
                continue
            object.__setattr__(self, field.name, check(field.name, value))


def changed(
    options: Options | None, changes: Mapping[str, Any], function: Callable[..., object] | None = None
) -> Options:
    """Return options with other values.

    Parameters
    ----------
    options : Options or None
        The defaults if left out.
    changes : mapping of str to object
        Names of fields, and their values.
    function : callable, optional
        That takes the fields as keywords; its own are suggested for a name that is misspelt as well.

    Raises
    ------
    KeywordError
        If there is no such option, or a value has the wrong type.
    OptionError
        If a number does not fit into 64 bits, or a size is none.
    """
    if options is None:
        options = Options()
    if not isinstance(options, Options):
        raise KeywordError(
            f"`options` is a {type(options).__name__}. Give dualsr_geo.Options, or its fields as keywords."
        )
    names = {f.name for f in fields(Options)}
    own = set() if function is None else set(inspect.signature(function).parameters) - {"self"}
    for name in changes:
        if name not in names:
            raise KeywordError(unknown_name(names | own, name, "option"))
    return replace(options, **changes)


def require_valid(options: Options) -> None:
    """Check the values that can be checked by themselves.

    Raises
    ------
    OptionError
        If one of them is unknown or too small.
    """
    if options.coregister not in get_args(Coregistration):
        raise OptionError(f"--coregister {options.coregister} is not known. Give auto, local or off.")
    if options.changes not in get_args(ChangeHandling):
        raise OptionError(f"--changes {options.changes} is not known. Give auto or off.")
    if options.denoise not in get_args(Denoising):
        raise OptionError(f"--denoise {options.denoise} is not known. Give auto or off.")
    if options.tile is not None and options.tile < MIN_TILE_SIDE:
        raise OptionError(f"--tile {options.tile} is below {MIN_TILE_SIDE} lr pixels. Give {MIN_TILE_SIDE} or more.")
    if options.tile is not None and options.tile > MAX_TILE_SIDE:
        raise OptionError(f"--tile {options.tile} is above {MAX_TILE_SIDE} lr pixels. Give {MAX_TILE_SIDE} or less.")
    if options.spectral is not None and options.spectral < 1:
        raise OptionError(f"--spectral {options.spectral} runs on no band. Give 1 or more, all or auto.")
    if not 1 <= options.orientations <= MAX_ORIENTATIONS:
        raise OptionError(
            f"--orientations {options.orientations} is not between 1 and {MAX_ORIENTATIONS}. A square has eight: give 8, or leave it out."
        )
    if options.max_memory is not None and options.max_memory < 1:
        raise OptionError(f"--max-memory {options.max_memory} leaves no memory. Give e.g. 4GB, or leave it out.")
    if options.jobs is not None and options.jobs < 1:
        raise OptionError(f"--jobs {options.jobs} runs nothing. Give 1 or more.")


def require_blur(options: Options, halo: int) -> None:
    """Check that the taps of a known blur sum to 1 and reach no farther than half the halo of a tile.

    Parameters
    ----------
    options : Options
    halo : int
        lr pixels.

    Raises
    ------
    OptionError
        If they do not, or the MTF gain is no gain.
    """
    if options.mtf_gain is not None:
        Psf.from_mtf(2, options.mtf_gain)
    psf = options.psf
    if psf is None:
        return
    if psf.ratio < 2:
        raise OptionError(f"--psf is for ratio {psf.ratio}, which does not sharpen. Give a PSF for ratio 2 or more.")
    for axis, taps in (("y", psf.taps_y), ("x", psf.taps_x)):
        # Also where a tap is NaN, which makes every comparison false.
        if not abs(sum(taps) - 1) < TAP_SUM_TOLERANCE:
            raise OptionError(f"--psf is no PSF: its taps along {axis} sum to {sum(taps):g}. Give taps that sum to 1.")
        if (magnitude := sum(map(abs, taps))) > MAX_TAP_MAGNITUDE:
            raise OptionError(
                f"--psf is no PSF: the magnitudes of its taps along {axis} sum to {magnitude:g}, more than "
                f"{MAX_TAP_MAGNITUDE:g}, so that it would amplify noise instead of blurring. Give taps of a blur."
            )
    if psf.reach_lr > halo // 2:
        raise OptionError(
            f"--psf is no PSF of this scene: it reaches {psf.reach_lr} lr pixels beyond its own, more than {halo // 2}. "
            "Give taps near their pixel, counted in hr pixels from start_y and start_x."
        )
