"""Drivers of GDAL that open scenes: those whose files hold all of their values, and those whose files name others."""

from __future__ import annotations

# Formats whose values are in the file itself, or in files that GDAL lists (`DatasetReader.files`). Those of an older or
# newer GDAL that is not installed are ignored.
SELF_CONTAINED = (
    "GTiff", "SNAP_TIFF", "HFA", "ENVI", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "JP2Lura", "ECW", "MrSID", "NITF",
    "PCIDSK", "EHdr", "GenBin", "GRIB", "FITS", "HDF4", "HDF4Image", "TIL", "DIMAP", "SENTINEL2", "SAFE", "RS2", "RCM",
    "TSX", "COSAR", "ISIS2", "ISIS3", "PDS", "PDS4", "VICAR", "ISCE", "ROI_PAC", "ERS", "AIG", "AAIGrid",
    "GRASSASCIIGrid", "XYZ", "GSAG", "GSBG", "GS7BG", "RST", "RRASTER", "R", "SAGA", "ILWIS", "PCRaster", "PAux", "RMF", "LCP",
    "PNG", "JPEG", "JPEGXL", "WEBP", "GIF", "BIGGIF", "BMP", "PNM", "SGI", "TGA", "XPM", "AVIF", "HEIF", "EXR", "GPKG",
    "MBTiles", "DTED", "SRTMHGT", "USGSDEM", "ACE2", "BT", "BYN", "BLX", "BSB", "CALS", "CEOS", "SAR_CEOS", "CTG", "CPG",
    "AirSAR", "COASP", "DOQ1", "DOQ2", "DIPEx", "EIR", "ELAS", "ESAT", "FAST", "FIT", "GFF", "GSC", "GTX", "GXF", "HF2",
    "IRIS", "ISG", "JAXAPALSAR", "JDEM", "KRO", "L1B", "LAN", "LOSLAS", "Leveller", "MFF", "MFF2", "MSG", "MSGN", "NDF",
    "NGSGEOID", "NOAA_B", "NSIDCbin", "NTv2", "NWT_GRC", "NWT_GRD", "PDF", "PRF", "RIK", "SDTS", "SIGDEM", "SNODAS", "SRP",
    "ADRG", "ECRGTOC", "RPFTOC", "Terragen", "ZMap", "CTable2", "LIBERTIFF",
)  # fmt: skip
# HDF5 may keep values in other files: it is opened after a look at its links.
HDF5_FORMATS = ("netCDF", "HDF5", "HDF5Image", "BAG", "KEA", "S102", "S104", "S111")
VRT_FORMATS = ("VRT",)


def family(driver: str) -> tuple[str, ...]:
    """Return the drivers with which a dataset of a driver is opened again; none, which is any, if it is of no family."""
    families = (SELF_CONTAINED, HDF5_FORMATS, VRT_FORMATS)
    return next((names for names in families if driver in names), ())


# Text in the first bytes of files that name services, databases or other files, of any other driver.
FOREIGN_MARKS = (
    b"<GDAL_WMS", b"<WMS_", b"<TileMap", b"<Capabilities", b"<WMTS", b"<WCS_GDAL", b"<GDALTileIndexDataset", b"<MRF_META",
    b"<kml", b"OziExplorer", b'"tiled-assets"', b'"stac_', b'"gdal_streamed_alg"', b'"type": "gdal',
)  # fmt: skip
# Prefixes of strings that are a connection, a command or a reference, not a file.
FOREIGN_PREFIXES = (
    "PG", "MSSQL", "MYSQL", "GEORASTER", "RASTERLITE", "WMS", "WMTS", "WCS", "TMS", "OGCAPI", "OAPIF", "WFS", "HTTP", "DAAS",
    "EEDA", "EEDAI", "PLMOSAIC", "NGW", "STACIT", "STACTA", "GTI", "MEM", "DERIVED_SUBDATASET", "ZARR", "AGS",
    "IIP", "CATALOGUE", "GDALG", "NVIDX",
)  # fmt: skip
