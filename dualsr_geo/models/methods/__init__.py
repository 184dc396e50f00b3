"""The models of the package, one file each, and the names of all models."""

from __future__ import annotations

from importlib.metadata import entry_points

# The group of entry points by which plugins add models.
GROUP = "dualsr_geo.models"
# By name: a module of this package and the model in it, which is imported on first use.
BUILT_IN = {
    "auto": "learned:AUTO",
    "regression": "regression:MODEL",
    "interpolation": "interpolation:MODEL",
    "learned": "learned:LEARNED",
    "bicubic": "bicubic:MODEL",
    "brovey": "brovey:MODEL",
    "gsa": "gsa:MODEL",
    "mtf-glp-hpm": "mtf_glp_hpm:MODEL",
}


def model_names() -> tuple[str, ...]:
    """Return the names of all models, those of plugins last, without importing any of them."""
    plugins = sorted(point.name for point in entry_points(group=GROUP))
    return (*BUILT_IN, *(name for name in plugins if name not in BUILT_IN))
