"""The options of registration and blur."""

from __future__ import annotations

from dataclasses import dataclass, field

from dualsr_geo.degradation.psf import Psf


@dataclass(frozen=True)
class RegistrationOptions:
    """The options of the guide's registration and of the scene's blur.

    Attributes
    ----------
    ratio : int
        Pixel size of the scene over pixel size of the target grid.
    psf : Psf or None
        The blur, where it is known; it is not estimated then.
    mtf_gain : float or None
        The sensor's MTF gain at the Nyquist frequency, 0..1; used unless the scene contradicts it.
    coregister : str
        ``"auto"`` undoes the guide's shift against the scene, ``"local"`` its displacement field first,
        ``"off"`` neither.
    mtf_named : bool
        Whether the user named the sensor or the gain, so that a note is due where the scene contradicts it.
    guide_parts : tuple of int
        Number of bands of each of several guides; empty for one guide.
    sharp_guides : tuple of int
        Numbers, from 0, of those of several guides whose pixels are no larger than those of the target grid.
    estimated_guides : tuple of int
        Numbers of those of several guides that are estimates of a first step.
    """

    ratio: int
    psf: Psf | None = None
    mtf_gain: float | None = field(default=None, kw_only=True)
    coregister: str = field(default="auto", kw_only=True)
    mtf_named: bool = field(default=True, kw_only=True)
    guide_parts: tuple[int, ...] = field(default=(), kw_only=True)
    sharp_guides: tuple[int, ...] = field(default=(), kw_only=True)
    estimated_guides: tuple[int, ...] = field(default=(), kw_only=True)
