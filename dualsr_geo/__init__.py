"""Sharpen hyperspectral and multispectral scenes on their map grid, guided by a sharper image or alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

from dualsr_geo.version import __version__

if TYPE_CHECKING:
    from dualsr_geo.degradation.psf import Psf
    from dualsr_geo.engine.options import Options
    from dualsr_geo.engine.upscale import upscale
    from dualsr_geo.errors import DualSRError, DualSRWarning
    from dualsr_geo.io.scenes import Scene, open_scene
    from dualsr_geo.models.loading import load_model

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
    "Options": "engine.options",
    "Psf": "degradation.operators",
    "Scene": "io.scenes",
    "load_model": "models.loading",
    "open_scene": "io.scenes",
    "upscale": "engine.upscale",
}


@wrapt.when_imported("xarray")
def _register(_: object) -> None:
    """Register .dualsr as soon as somebody has xarray, whose import takes longer than `dualsr-geo --help` may."""
    from dualsr_geo import accessor  # noqa: F401, PLC0415


def __getattr__(name: str) -> Any:  # whatever the module holds
    """Load a public name when it is first asked for, so that the import stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
