"""The options of a run: what a user may decide, and which values make sense by themselves."""

from __future__ import annotations

from dataclasses import dataclass

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine import tile_size
from dualsr_geo.errors import OptionError

COREGISTER = ("auto", "local", "off")
CHANGES = ("auto", "off")
# Taps printed with four digits sum to 1 within this.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Options:
    """What a user may decide about a run.

    Attributes
    ----------
    scale : int or None
        Ratio; left out with a guide, the largest integer not above the GSD ratio.
    model, fine : str
        The coarse model, a name or a weights file, and the fine stage; `fine` left out, the model's own.
    half_model : str or None
        Weights of half the ratio, for the fine stage ``"backprojection"`` of networks.
    published : bool
        Let a network compute what its authors' published code computes, defects included.
    precision : str
        What a network computes in: ``"float32"``, or ``"bfloat16"``, faster and within 1e-3 of the range.
    spectral : int or None
        On how many bands our own networks run; the others follow by the scene's own relations. Left
        out, 8, of noisy scenes 8 components; a number beyond the scene's is all.
    uncertainty : bool
        Whether the product says of every value how far it may be off (standard deviation).
    coregister : str
        ``"auto"`` moves a displaced guide onto the scene as a whole, ``"local"`` also place by place,
        ``"off"`` leaves it and warns.
    changes : str
        ``"auto"`` leaves the guide out where it shows something else than the scene, ``"off"`` uses it everywhere.
    psf : Psf or None
        A known blur; nothing is estimated then.
    mtf_gain : float or None
        The sensor's MTF gain at Nyquist, used unless the scene contradicts it; it wins over `sensor`'s.
    bidx : str or None
        Bands of the scene, ``"1,3..5"``.
    gsd : float or None
        Which bands of a product with several pixel sizes, metres.
    sensor : str or None
        The instrument that took the scene, by its name in the registry; left out, its metadata is asked.
    tile : int or None
        Side of a tile's core, lr pixels; left out, `max_memory` decides.
    jobs : int or None
        Tiles at once; left out, one a core.
    max_memory : int or None
        Bytes; left out, half of the machine's memory.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    format, dtype, nodata, creation
        Of the product, as GDAL knows them.
    overwrite, resume : bool
    work_dir : str or None
        Where a TIFF for an object store is made on disk; left out, the current folder.
    """

    scale: int | None = None
    model: str = "auto"
    fine: str | None = None
    half_model: str | None = None
    published: bool = False
    precision: str = "float32"
    spectral: int | None = None
    uncertainty: bool = False
    coregister: str = "auto"
    changes: str = "auto"
    psf: Psf | None = None
    mtf_gain: float | None = None
    bidx: str | None = None
    gsd: float | None = None
    sensor: str | None = None
    tile: int | None = None
    jobs: int | None = None
    max_memory: int | None = None
    device: str = "auto"
    format: str | None = None
    dtype: str | None = None
    nodata: float | None = None
    creation: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    resume: bool = False
    work_dir: str | None = None


def require_valid(options: Options) -> None:
    """Check the values that need nothing else to be judged.

    Raises
    ------
    OptionError
        If one of them is not known or too small.
    """
    if options.coregister not in COREGISTER:
        raise OptionError(f"--coregister {options.coregister} is not known. Give auto, local or off.")
    if options.changes not in CHANGES:
        raise OptionError(f"--changes {options.changes} is not known. Give auto or off.")
    least = tile_size.SMALLEST_TILE
    if options.tile is not None and options.tile < least:
        raise OptionError(f"--tile {options.tile} is below {least} lr pixels. Give {least} or more.")
    if options.spectral is not None and options.spectral < 1:
        raise OptionError(f"--spectral {options.spectral} runs on no band. Give 1 or more, all or auto.")
    if options.jobs is not None and options.jobs < 1:
        raise OptionError(f"--jobs {options.jobs} runs nothing. Give 1 or more.")


def require_blur(options: Options, halo: int) -> None:
    """Check that a known blur is one: weights that sum to 1, on pixels that a tile sees."""
    psf = options.psf
    if options.mtf_gain is not None:
        Psf.from_mtf(2, options.mtf_gain)
    if psf is None:
        return
    for axis, taps in (("y", psf.taps_y), ("x", psf.taps_x)):
        # Also where a tap is NaN, which makes every comparison false.
        if not abs(sum(taps) - 1) < SUM_TOLERANCE:
            raise OptionError(f"--psf is no PSF: its taps along {axis} sum to {sum(taps):g}. Give taps that sum to 1.")
    if psf.reach_lr > halo // 2:
        raise OptionError(
            f"--psf is no PSF of this scene: it reaches {psf.reach_lr} lr pixels beyond its own, more than {halo // 2}. "
            "Give taps near their pixel, counted in hr pixels from start_y and start_x."
        )
