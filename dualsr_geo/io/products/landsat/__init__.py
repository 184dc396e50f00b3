"""Landsat 1 to 9 as delivered: folders with and without metadata, and single bands."""

from dualsr_geo.io.products.landsat.reader import looks_like, open_delivery

__all__ = ["looks_like", "open_delivery"]
