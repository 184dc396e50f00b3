"""Small products of more instruments, in the layouts that their providers document; none was compared with a real one."""

import json

import h5py
import numpy as np
from delivered import EAST, NORTH, counts, raster

# ---- PlanetScope -------------------------------------------------------------------------

PLANET_SCENE = "20230612_100031_12_2486"
COEFFICIENTS = (2.1e-05, 2.2e-05, 2.3e-05, 2.4e-05, 2.5e-05, 2.6e-05, 2.7e-05, 3.4e-05)


def planetscope(
    folder, *, bands=8, surface=True, radiance=False, metadata=True, level="3B", instrument="PSB.SD", shape=(30, 42)
):
    """The folder of an order: the image of a scene, its masks, and its metadata."""
    order = folder / "order" / "PSScene"
    eight = "_8b" if bands == 8 else ""
    cube = counts(6, (bands, *shape), 300, 6000)
    cube[:, :4, :6] = 0
    if surface:
        raster(order / f"{PLANET_SCENE}_{level}_AnalyticMS_SR{eight}_clip.tif", cube, 3, nodata=0)
    if radiance:
        raster(order / f"{PLANET_SCENE}_{level}_AnalyticMS{eight}_clip.tif", cube + 7, 3)
    raster(order / f"{PLANET_SCENE}_{level}_udm2_clip.tif", np.ones((8, *shape), "uint8"), 3)
    if metadata:
        (order / f"{PLANET_SCENE}_{level}_AnalyticMS{eight}_metadata_clip.xml").write_text(
            _planet_document(bands, instrument)
        )
        (order / f"{PLANET_SCENE}_metadata.json").write_text(
            json.dumps(
                {"id": PLANET_SCENE, "properties": {"instrument": instrument, "acquired": "2023-06-12T10:00:31Z"}}
            )
        )
    return folder / "order"


def _planet_document(bands, instrument):
    listed = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{i + 1}</ps:bandNumber><ps:radiometricScaleFactor>0.01"
        f"</ps:radiometricScaleFactor><ps:reflectanceCoefficient>{COEFFICIENTS[i]}</ps:reflectanceCoefficient>"
        "</ps:bandSpecificMetadata>"
        for i in range(bands)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ps:EarthObservation xmlns:ps="http://schemas.planet.com/ps/v1/x" '
        'xmlns:eop="http://earth.esa.int/eop"><eop:Instrument><eop:shortName>'
        f"{instrument}</eop:shortName></eop:Instrument><eop:acquisitionDate>2023-06-12T10:00:31+00:00"
        f"</eop:acquisitionDate>{listed}</ps:EarthObservation>"
    )


# ---- DIMAP -------------------------------------------------------------------------------

AIRBUS_MS = {
    "PHR": ("B2", "B1", "B0", "B3"),
    "SPOT": ("B2", "B1", "B0", "B3"),
    "PNEO": ("R", "G", "B", "NIR", "RE", "DB"),
}
AIRBUS_GSD = {"PHR": (2.0, 0.5), "SPOT": (6.0, 1.5), "PNEO": (1.2, 0.3)}


def dimap(
    folder,
    *,
    mission="PHR",
    index="1A",
    radiometry="REFLECTANCE",
    pan=True,
    level="ORTHO",
    tiles=(2, 2),
    form="TIF",
    shape=(32, 44),
):
    """The folder of an order: one of the multispectral image, and one of the pan image; cubes are returned, too."""
    order = folder / f"SO_{mission}{index}"
    coarse, fine = AIRBUS_GSD[mission]
    ids = AIRBUS_MS[mission]
    cubes = {"MS": counts(4, (len(ids), *shape), 100, 1800), "P": counts(4, (1, *(4 * n for n in shape)), 100, 1800)}
    cubes["MS"][:, :5, :6] = 0
    for kind, names, gsd in (("MS", ids, coarse), ("P", ("P",), fine)):
        if kind == "MS" or pan:
            _dimap_image(order, mission, index, kind, names, cubes[kind], gsd, radiometry, level, tiles, form)
    return order, cubes


def _dimap_image(order, mission, index, kind, ids, cube, gsd, radiometry, level, tiles, form):
    where = order / f"IMG_{mission}{index}_{kind}_001"
    stem = f"{mission}{index}_{kind}_202306121000312_ORT_12345"
    _, height, width = cube.shape
    # Pléiades Neo has the bands of the eye in one list of files, and the others in a second.
    groups = [ids[:3], ids[3:]] if len(ids) == 6 else [ids]
    size = [-(-n // t) for n, t in zip((height, width), tiles, strict=True)]
    lists = ""
    for number, names in enumerate(groups):
        first = 3 * number
        files = ""
        for r in range(tiles[0]):
            for c in range(tiles[1]):
                name = f"IMG_{stem}_{'RGB' if number == 0 else 'NED'}_R{r + 1}C{c + 1}.{form}"
                y, x = r * size[0], c * size[1]
                part = cube[first : first + len(names), y : y + size[0], x : x + size[1]]
                options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"} if form == "JP2" else {}
                raster(where / name, np.ascontiguousarray(part), gsd, EAST + gsd * x, NORTH - gsd * y, **options)
                files += f'<Data_File tile_R="{r + 1}" tile_C="{c + 1}"><DATA_FILE_PATH href="{name}"/></Data_File>'
        # Pléiades and SPOT state the order of the bands as that of the display.
        indices = (
            ""
            if len(groups) == 1
            else "".join(
                f"<Raster_Index><BAND_ID>{n}</BAND_ID><BAND_INDEX>{i + 1}</BAND_INDEX></Raster_Index>"
                for i, n in enumerate(names)
            )
        )
        missing = (
            "<Special_Value><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_COUNT>0</SPECIAL_VALUE_COUNT>"
            "</Special_Value>"
        )
        listed = f"<Raster_Index_List>{indices}</Raster_Index_List>{missing}"
        lists += f"<Data_Files>{files}{f'<Raster_Display>{listed}</Raster_Display>' if indices else ''}</Data_Files>"
    channels = ("RED", "GREEN", "BLUE", "ALPHA") if len(ids) > 1 else ("PAN",)
    order = "".join(f"<{c}_CHANNEL>{n}</{c}_CHANNEL>" for c, n in zip(channels, ids, strict=False))
    display = f"<Raster_Display><Band_Display_Order>{order}</Band_Display_Order>{missing}</Raster_Display>"
    gains = "".join(
        f"<Band_Radiance><BAND_ID>{n}</BAND_ID><GAIN>{8.5 + i}</GAIN><BIAS>{0.25 * i}</BIAS></Band_Radiance>"
        f"<Band_Reflectance><BAND_ID>{n}</BAND_ID><GAIN>10000</GAIN><BIAS>0</BIAS></Band_Reflectance>"
        for i, n in enumerate(ids)
    )
    (where / f"DIM_{stem}.XML").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><Dimap_Document><Metadata_Identification>'
        '<METADATA_FORMAT version="2.15">DIMAP</METADATA_FORMAT></Metadata_Identification>'
        f"<Dataset_Identification><DATASET_NAME>{stem}</DATASET_NAME></Dataset_Identification>"
        "<Coordinate_Reference_System><Projected_CRS><PROJECTED_CRS_CODE>urn:ogc:def:crs:EPSG::32633</PROJECTED_CRS_CODE>"
        "</Projected_CRS></Coordinate_Reference_System>"
        f'<Geoposition><Geoposition_Insert><ULXMAP unit="m">{EAST}</ULXMAP><ULYMAP unit="m">{NORTH}</ULYMAP>'
        f'<XDIM unit="m">{gsd}</XDIM><YDIM unit="m">{gsd}</YDIM></Geoposition_Insert></Geoposition>'
        f"<Processing_Information><Product_Settings><PROCESSING_LEVEL>{level}</PROCESSING_LEVEL>"
        f"<SPECTRAL_PROCESSING>{'MS-FS' if len(ids) == 6 else kind}</SPECTRAL_PROCESSING><Radiometric_Settings>"
        f"<RADIOMETRIC_PROCESSING>{radiometry}</RADIOMETRIC_PROCESSING></Radiometric_Settings></Product_Settings>"
        f"</Processing_Information><Raster_Data><Raster_Dimensions><NROWS>{height}</NROWS><NCOLS>{width}</NCOLS>"
        f"<NBANDS>{len(ids)}</NBANDS><Tile_Set><NTILES>{tiles[0] * tiles[1]}</NTILES><Regular_Tiling>"
        f'<NTILES_SIZE ncols="{size[1]}" nrows="{size[0]}"/><NTILES_COUNT ntiles_C="{tiles[1]}" ntiles_R="{tiles[0]}"/>'
        '<NTILES_OVERLAP ncols="0" nrows="0"/></Regular_Tiling></Tile_Set></Raster_Dimensions><Raster_Encoding>'
        "<DATA_TYPE>INTEGER</DATA_TYPE><NBITS>16</NBITS><SIGN>UNSIGNED</SIGN></Raster_Encoding><Data_Access>"
        "<DATA_FILE_ORGANISATION>BAND_COMPOSITE</DATA_FILE_ORGANISATION><DATA_FILE_FORMAT>"
        f"{'image/jp2' if form == 'JP2' else 'image/tiff'}</DATA_FILE_FORMAT><DATA_FILE_TILES>true</DATA_FILE_TILES>"
        f"{lists}</Data_Access>{display if len(groups) == 1 else ''}</Raster_Data><Radiometric_Data><Radiometric_Calibration><Instrument_Calibration>"
        f"<Band_Measurement_List>{gains}</Band_Measurement_List></Instrument_Calibration></Radiometric_Calibration>"
        "</Radiometric_Data><Dataset_Sources><Source_Identification><Strip_Source>"
        f"<MISSION>{mission}</MISSION><MISSION_INDEX>{index}</MISSION_INDEX><IMAGING_DATE>2023-06-12</IMAGING_DATE>"
        "<IMAGING_TIME>10:00:31.2Z</IMAGING_TIME></Strip_Source></Source_Identification></Dataset_Sources></Dimap_Document>"
    )


# ---- DESIS -------------------------------------------------------------------------------


def desis(folder, level="L2A", shape=(31, 41), count=12, described=None, suffix="tif"):
    product = f"DESIS-HSI-{level}-DT0865788448_015-20230607T153935-V0220"
    where = folder / product
    cube = counts(5, (count, *shape), 0, 5000, "int16")
    cube[:, :3, :4] = -32768
    raster(where / f"{product}-SPECTRAL_IMAGE.{suffix}", cube, 30)
    raster(where / f"{product}-QL_QUALITY-2.tif", np.ones((8, *shape), "uint8"), 30)
    described = count if described is None else described
    bands = "".join(
        f"<band><bandNumber>{i + 1}</bandNumber><wavelengthCenterOfBand>{nm:.3f}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>3.484</wavelengthWidthOfBand><response>0.1,1,0.1</response><gainOfBand>"
        f"{0.0001 if level == 'L2A' else 0.005 + i}</gainOfBand><offsetOfBand>{0 if level == 'L2A' else 0.25}</offsetOfBand></band>"
        for i, nm in enumerate(np.linspace(401.9, 999.5, described))
    )
    (where / f"{product}-METADATA.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><hsi_doc><base><temporalCoverage><startTime>2023-06-07T15:39:35.1Z</startTime>'
        "</temporalCoverage></base><specific><backgroundValue>-32768</backgroundValue><numberOfBands>"
        f"{described}</numberOfBands><bandCharacterisation>{bands}</bandCharacterisation></specific></hsi_doc>"
    )
    return where


# ---- Tanager -----------------------------------------------------------------------------


def tanager(folder, product="ortho_sr", shape=(23, 29), count=9, drop=(), centre=False):
    """A file in the layout of HDF-EOS5; returns the path and the cube (band, y, x)."""
    path = folder / f"20250423_134021_00_4001_{product}_hdf5.h5"
    cube = counts(7, (count, *shape), 100, 6000).astype("float32") / 1e4
    cube[:, :4, :5] = -9999
    where = f"HDFEOS/{'SWATHS' if product.startswith('basic') else 'GRIDS'}/HYP"
    name = f"{where}/Data Fields/{'surface_reflectance' if product.endswith('sr') else 'toa_radiance'}"
    height, width = shape
    east, south = EAST + 30 * (width - centre), NORTH - 30 * (height - centre)
    with h5py.File(path, "w") as file:
        data = file.create_dataset(name, data=cube, chunks=(3, 8, 8), compression="gzip")
        data.attrs["wavelengths"] = np.linspace(376.44, 2499.1, count).astype("float32")
        data.attrs["fwhm"] = np.full(count, 5.5, "float32")
        if product.endswith("sr"):
            data.attrs["good_wavelengths"] = np.array([1] * (count - 2) + [0, 1], "uint8")
        else:
            data.attrs["Unit"] = "W/(m^2 sr um)"
        data.attrs["_FillValue"] = np.float32(-9999)
        file[f"{where}/Data Fields/nodata_pixels"] = (cube[0] == -9999).astype("uint8")
        file[where].attrs["epsg_code"] = 32633
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(
            f"GROUP=GridStructure\n\tXDim={width}\n\tYDim={height}\n\tUpperLeftPointMtrs=({EAST:.6f},{NORTH:.6f})\n"
            f"\tLowerRightMtrs=({east:.6f},{south:.6f})\n"
            f"\tPixelRegistration=HE5_HDFE_{'CENTER' if centre else 'CORNER'}\n\tGridOrigin=HE5_HDFE_GD_UL\n"
        )
        for item in drop:
            if item in file:
                del file[item]
            else:
                del data.attrs[item]
    return path, cube


# ---- EO-1 --------------------------------------------------------------------------------

# Factors and offsets of ALI's bands, as in Chander et al. 2009.
ALI_SCALING = (
    (0.024, -2.2), (0.045, -3.4), (0.043, -4.4), (0.028, -1.9), (0.018, -1.3), (0.011, -0.85), (0.0091, -0.65),
    (0.0083, -1.3), (0.0028, -0.6), (0.00091, -0.21),
)  # fmt: skip


def hyperion(folder, shape=(17, 19), level="L1T", numbers=range(1, 243)):
    scene = "EO1H0380342012191110KF"
    where = folder / f"{scene}_1T"
    fields = counts(11, (8, *shape), 200, 4000, "int16")
    fields[:, :2, :3] = 0
    for number in numbers:
        calibrated = 8 <= number <= 57 or 77 <= number <= 224
        plane = fields[number % 8] + number if calibrated else np.zeros(shape)
        plane = np.where(fields[0] == 0, 0, plane).astype("int16")
        raster(where / f"{scene}_B{number:03d}_{level}.TIF", plane[None], 30)
    (where / f"{scene}_MTL_{level}.TXT").write_text(
        "GROUP = L1_METADATA_FILE\n  GROUP = PRODUCT_METADATA\n    ACQUISITION_DATE = 2012-07-09\n"
        '    PRODUCT_TYPE = "L1T"\n  END_GROUP = PRODUCT_METADATA\n  GROUP = RADIANCE_SCALING\n'
        "    SCALING_FACTOR_VNIR = 40.00\n    SCALING_FACTOR_SWIR = 80.00\n  END_GROUP = RADIANCE_SCALING\n"
        "END_GROUP = L1_METADATA_FILE\nEND\n"
    )
    return where


def ali(folder, shape=(20, 26), pan=True):
    scene = "EO1A0380342012191110KF"
    where = folder / f"{scene}_1T"
    cube, fine = (
        counts(12, (9, *shape), 200, 4000, "int16"),
        counts(12, (1, *(3 * n for n in shape)), 200, 4000, "int16"),
    )
    cube[:, :2, :3] = 0
    for i, plane in enumerate(cube):
        raster(where / f"{scene}_B{i + 2:02d}_L1T.TIF", plane[None], 30)
    if pan:
        raster(where / f"{scene}_B01_L1T.TIF", fine, 10)
    scaling = "".join(
        f"    BAND{i + 1}_SCALING_FACTOR = {factor}\n    BAND{i + 1}_OFFSET = {offset}\n"
        for i, (factor, offset) in enumerate(ALI_SCALING)
    )
    (where / f"{scene}_MTL_L1T.TXT").write_text(
        "GROUP = L1_METADATA_FILE\n  GROUP = PRODUCT_METADATA\n    ACQUISITION_DATE = 2012-07-09\n"
        f"  END_GROUP = PRODUCT_METADATA\n  GROUP = RADIANCE_SCALING\n{scaling}  END_GROUP = RADIANCE_SCALING\n"
        "END_GROUP = L1_METADATA_FILE\nEND\n"
    )
    return where


# ---- HLS and ECOSTRESS -------------------------------------------------------------------

HLS_BANDS = {
    "S30": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
    "L30": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11"),
}


def hls(folder, kind="S30", names=None, shape=(23, 31)):
    granule = f"HLS.{kind}.T33UUB.2023163T100031.v2.0"
    names = HLS_BANDS[kind] if names is None else names
    cube = counts(13, (len(names), *shape), -50, 5000, "int16")
    cube[:, :3, :4] = -9999
    for name, plane in zip(names, cube, strict=True):
        raster(folder / granule / f"{granule}.{name}.tif", plane[None], 30, nodata=-9999)
    raster(folder / granule / f"{granule}.Fmask.tif", np.ones((1, *shape), "uint8"), 30)
    return folder / granule


def ecostress(folder, shape=(25, 33)):
    granule = "ECOv002_L2T_LSTE_28527_009_33UUB_20230718T081442_0710_01"
    cube = counts(14, (1, *shape), 28000, 32000).astype("float32") / 100
    cube[:, :3, :4] = np.nan
    raster(folder / granule / f"{granule}_LST.tif", cube, 70, nodata=np.nan)
    raster(folder / granule / f"{granule}_LST_err.tif", cube / 100, 70, nodata=np.nan)
    raster(folder / granule / f"{granule}_cloud.tif", np.zeros((1, *shape), "uint8"), 70)
    return folder / granule
