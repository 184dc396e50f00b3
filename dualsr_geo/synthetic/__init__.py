"""Synthetic scenes that behave like real ones: materials, edges, texture, shade, mixed pixels."""

from __future__ import annotations

from dualsr_geo.synthetic.files import NODATA, SCALE, write
from dualsr_geo.synthetic.materials import MATERIALS, guide_spectra, material_spectra
from dualsr_geo.synthetic.scene import Sample, as_dataarray, degrade, make

__all__ = [
    "MATERIALS",
    "NODATA",
    "SCALE",
    "Sample",
    "as_dataarray",
    "degrade",
    "guide_spectra",
    "make",
    "material_spectra",
    "write",
]
