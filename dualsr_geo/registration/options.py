"""What the user decides about registration and blur."""

from __future__ import annotations

from dataclasses import dataclass, field

from dualsr_geo.degradation.psf import Psf


@dataclass(frozen=True)
class RegistrationOptions:
    """What the user decides about the registration of the guide and the blur of the scene.

    Attributes
    ----------
    ratio : int
        Pixel size of the scene over pixel size of the target grid.
    psf : Psf or None
        A known blur; it is used as it is.
    mtf_gain : float or None
        The sensor's MTF gain at Nyquist; used unless the scene contradicts it.
    coregister : str
        ``"auto"`` moves a displaced guide onto the scene as a whole, ``"local"`` also place by place,
        ``"off"`` leaves it.
    mtf_named : bool
        Whether the user named that sensor or gain, and wants a note where the scene contradicts it.
    """

    ratio: int
    psf: Psf | None = None
    mtf_gain: float | None = field(default=None, kw_only=True)
    coregister: str = field(default="auto", kw_only=True)
    mtf_named: bool = field(default=True, kw_only=True)
