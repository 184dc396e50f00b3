"""The accessor `.dualsr` of xarray objects: the functions of the library, evaluated lazily."""

from dualsr_geo.accessor.array import ArrayAccessor
from dualsr_geo.accessor.dataset import DatasetAccessor

__all__ = ["ArrayAccessor", "DatasetAccessor"]
