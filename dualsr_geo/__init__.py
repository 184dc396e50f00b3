"""Sharpen hyperspectral and multispectral scenes on their map grid, guided by a sharper image or alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualsr_geo import accessor as _accessor  # noqa: F401  # registers .dualsr
from dualsr_geo.version import __version__

if TYPE_CHECKING:
    from dualsr_geo.degrade import Psf
    from dualsr_geo.errors import DualSRError, DualSRWarning
    from dualsr_geo.pipeline import upscale
    from dualsr_geo.plan import Options
    from dualsr_geo.read import Scene, open_scene
    from dualsr_geo.trained import load_model

__all__ = [
    "DualSRError",
    "DualSRWarning",
    "Options",
    "Psf",
    "Scene",
    "__version__",
    "load_model",
    "open_scene",
    "upscale",
]

_HOME = {
    "DualSRError": "errors",
    "DualSRWarning": "errors",
    "Options": "plan",
    "Psf": "degrade",
    "Scene": "read",
    "load_model": "trained",
    "open_scene": "read",
    "upscale": "pipeline",
}


def __getattr__(name: str) -> Any:  # whatever the module holds
    """Load a public name when it is first asked for, so that the import stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
