"""The data model: grid, windows, bands, packing, wavelengths, scene and source."""
