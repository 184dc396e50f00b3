"""Sentinel-2 products: SAFE folders, folders of one file a band, and EOPF Zarr."""
