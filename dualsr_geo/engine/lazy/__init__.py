"""Lazy products: graphs of dask, and xarray objects."""
