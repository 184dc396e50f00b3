"""Readers by format: GDAL, netCDF, Zarr, HDF5 and xarray objects."""
