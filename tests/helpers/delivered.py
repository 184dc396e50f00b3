"""Small products in the layouts that their providers deliver, made of pixels given or made up."""

import json
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import rasterio
import xarray as xr
import zarr
from rasterio.transform import from_origin

CRS = "EPSG:32633"
EAST, NORTH = 399960.0, 5800020.0
S2_BANDS = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09", "B10")}
S2_ORDER = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
S2_NM = (442.7, 492.7, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4)


def counts(seed, shape, low=200, high=6000, dtype="uint16", at=None):
    """Smooth fields; `at` places the pixels' centres (y, x) on 0 to 1, by default evenly."""
    count, height, width = shape
    rng = np.random.default_rng(seed)
    y, x = at or ((np.arange(n) + 0.5) / n for n in (height, width))
    waves = [np.sin(2 * np.pi * (a * y[:, None] + b * x + p)) for a, b, p in rng.uniform(0, 3, (4, 3))]
    field = np.tensordot(np.random.default_rng(seed + count).uniform(-0.25, 0.25, (count, 4)), waves, 1)
    return (low + (0.5 + 0.5 * field) * (high - low)).astype(dtype)


def raster(path, cube, gsd, east=EAST, north=NORTH, driver="GTiff", nodata=None, crs=CRS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = cube.shape
    profile = {"driver": driver, "count": count, "height": height, "width": width, "dtype": cube.dtype}
    with rasterio.open(
        path, "w", **profile, crs=crs, transform=from_origin(east, north, gsd, gsd), nodata=nodata, **options
    ) as out:
        out.write(cube)
    return path


# ---- Sentinel-2 --------------------------------------------------------------------------


def sentinel2(
    folder, level="L2A", baseline="05.09", offset=-1000, sides=(60, 84), cubes=None, spacecraft="Sentinel-2A"
):
    """A SAFE folder of one granule; `sides` are the rows and columns at 10 m."""
    product = f"S2A_MSI{level}_20230612T100031_N{baseline.replace('.', '')}_R122_T33UUB_20230612T140000"
    safe = folder / f"{product}.SAFE"
    images = safe / "GRANULE" / f"{level}_T33UUB_A041632_20230612T100026" / "IMG_DATA"
    for gsd, names in S2_BANDS.items():
        delivered_names = [n for n in names if not (level == "L2A" and n == "B10")]
        height, width = (n * 10 // gsd for n in sides)
        cube = counts(gsd, (len(delivered_names), height, width)) if cubes is None else cubes[gsd]
        for name, plane in zip(delivered_names, cube, strict=True):
            _jp2(images, level, name, gsd, plane)
            if level == "L2A" and gsd < 60:
                _jp2(images, level, name, 60, plane[:: 60 // gsd, :: 60 // gsd])
    (safe / f"MTD_MSI{level}.xml").write_text(_s2_document(level, baseline, offset, product, spacecraft))
    return safe


def real_sentinel2(folder, data=Path(__file__).parents[3] / "shared/data"):
    """The pixels of an L1C product, as DSen2 brings them, in the product's own layout."""
    with h5py.File(Path(data) / "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat") as file:
        cubes = {gsd: file[f"im{gsd}"][()].astype("uint16") for gsd in (10, 20, 60)}
    # There B04, B03, B02, B08; and no B10.
    cubes[10] = cubes[10][[2, 1, 0, 3]]
    cubes[60] = np.concatenate([cubes[60], np.zeros_like(cubes[60][:1])])
    return sentinel2(Path(folder), "L1C", "02.05", None, (600, 600), cubes), cubes


EOPF_NAME = "S2B_MSIL2A_20230612T100031_N0511_R122_T33UUB_20230612T140000"


def eopf_sentinel2(where, zarr_format=3, crs="other_metadata", sides=(60, 84), packed=True):
    """A product in EOPF Zarr; `sides` are the rows and columns at 10 m, `crs` says which attribute states the CRS."""
    for gsd, names in S2_BANDS.items():
        height, width = (n * 10 // gsd for n in sides)
        cube = counts(gsd, (len(names), height, width))
        cube[:, :2, :3] = 0
        coords = _centres(gsd, height, width)
        attrs = {"long_name": "reflectance", "valid_min": 1, "valid_max": 65535, "units": "digital_counts"}
        attrs |= {"scale_factor": 0.0001, "add_offset": -0.1} if packed else {}
        attrs |= {"proj:epsg": 32633} if crs == "array" else {}
        bands = {n.lower(): (("y", "x"), plane, attrs) for n, plane in zip(names, cube, strict=True) if n != "B10"}
        if gsd > 10:
            # Finer bands are repeated in coarser groups.
            bands["b02"] = (("y", "x"), cube[0], attrs)
        _eopf_group(where, f"measurements/reflectance/r{gsd}m", xr.Dataset(bands, coords), zarr_format)
    height, width = (n // 2 for n in sides)
    classes = np.full((height, width), 4, "uint8")
    classes[: height // 2] = 8
    _eopf_group(
        where,
        "conditions/mask/l2a_classification/r20m",
        xr.Dataset({"scl": (("y", "x"), classes)}, _centres(20, height, width)),
        zarr_format,
    )
    properties = {"platform": "sentinel-2b", "processing:version": "05.11", "processing:level": "L2A"}
    properties |= {"proj:epsg": 32633} if crs == "stac_discovery" else {}
    other = {"horizontal_CRS_code": "EPSG:32633"} if crs == "other_metadata" else {}
    root = zarr.open_group(where, mode="a", zarr_format=zarr_format)
    root.attrs.update({"stac_discovery": {"type": "Feature", "properties": properties}, "other_metadata": other})
    return where


def _centres(gsd, height, width):
    return {
        "x": np.arange(width) * gsd + int(EAST) + gsd // 2,
        "y": int(NORTH) - np.arange(height) * gsd - gsd // 2,
    }


def _eopf_group(where, group, dataset, zarr_format):
    for variable in dataset.data_vars:
        dataset[variable].encoding = {"chunks": (16, 16), "_FillValue": 0}
    dataset.to_zarr(where, group=group, zarr_format=zarr_format, mode="a", consolidated=False)


def _jp2(images, level, name, gsd, plane):
    where = images / f"R{gsd}m" / f"T33UUB_20230612T100031_{name}_{gsd}m.jp2"
    if level == "L1C":
        where = images / f"T33UUB_20230612T100031_{name}.jp2"
    raster(where, np.ascontiguousarray(plane[None]), gsd, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")


def _s2_document(level, baseline, offset, product, spacecraft):
    surface = level == "L2A"
    tag, listed = (
        ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST") if surface else ("RADIO_ADD_OFFSET", "Radiometric_Offset_List")
    )
    offsets = "".join(f'<{tag} band_id="{i}">{offset}</{tag}>' for i in range(13))
    offsets = "" if offset is None else f"<{listed}>{offsets}</{listed}>"
    divisor = '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
    if surface:
        divisor = (
            '<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
            '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
        )
    spectral = "".join(
        f'<Spectral_Information bandId="{i}" physicalBand="{name}"><Wavelength><CENTRAL unit="nm">{nm}</CENTRAL>'
        '</Wavelength><Spectral_Response><STEP unit="nm">1</STEP><VALUES>0.1 0.5 1 0.9 0.4</VALUES>'
        "</Spectral_Response></Spectral_Information>"
        for i, (name, nm) in enumerate(zip(S2_ORDER, S2_NM, strict=True))
    )
    kind = "Level-2A" if surface else "Level-1C"
    space = f"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_{kind}.xsd"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><n1:{kind}_User_Product xmlns:n1="{space}"><n1:General_Info><Product_Info>'
        "<PRODUCT_START_TIME>2023-06-12T10:00:31.024Z</PRODUCT_START_TIME>"
        f"<PRODUCT_URI>{product}.SAFE</PRODUCT_URI><PROCESSING_LEVEL>{kind}</PROCESSING_LEVEL>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f"<Datatake><SPACECRAFT_NAME>{spacecraft}</SPACECRAFT_NAME></Datatake></Product_Info>"
        f"<Product_Image_Characteristics>{divisor}{offsets}<Spectral_Information_List>{spectral}"
        "</Spectral_Information_List></Product_Image_Characteristics></n1:General_Info>"
        f"</n1:{kind}_User_Product>"
    )


# ---- Landsat -----------------------------------------------------------------------------


def landsat(folder, level="L1TP", shape=(37, 45), pan=True, spacecraft="LANDSAT_8", form="txt"):
    """A Collection 2 folder; band 8 has its first and last pixel centres on those of the others."""
    surface = level.startswith("L2")
    product = f"LC08_{level}_193023_20230612_20230620_02_T1"
    where = folder / product
    names = [str(n) for n in range(1, 8)] if surface else [str(n) for n in (*range(1, 8), 9, 10, 11)]
    cube = counts(30, (len(names), *shape), 7000, 20000)
    files = {n: f"{product}_{'SR_' if surface else ''}B{n}.TIF" for n in [*names, *([] if surface else ["8"])]}
    for name, plane in zip(names, cube, strict=True):
        raster(where / files[name], plane[None], 30)
    if pan and not surface:
        at = [(np.arange(2 * n - 1) + 1) / (2 * n) for n in shape]
        fine = counts(30, (1, *(2 * n - 1 for n in shape)), 7000, 20000, at=at)
        raster(where / files["8"], fine, 15, EAST + 7.5, NORTH - 7.5)
    document = _landsat_groups(product, level, spacecraft, files)
    if form == "txt":
        (where / f"{product}_MTL.txt").write_text(_mtl(document))
    elif form == "json":
        (where / f"{product}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": document}))
    return where


def _landsat_groups(product, level, spacecraft, files):
    first = {f"REFLECTANCE_MULT_BAND_{n}": "2.0000E-05" for n in range(1, 10)}
    first |= {f"REFLECTANCE_ADD_BAND_{n}": "-0.100000" for n in range(1, 10)}
    groups = {
        "PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": product, "PROCESSING_LEVEL": level}
        | {f"FILE_NAME_BAND_{n}": f for n, f in files.items()},
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": spacecraft,
            "DATE_ACQUIRED": "2023-06-12",
            "SCENE_CENTER_TIME": "10:00:31.1234560Z",
            "SUN_ELEVATION": "30.00000000",
        },
    }
    if level.startswith("L2"):
        second = {f"REFLECTANCE_MULT_BAND_{n}": "2.75e-05" for n in range(1, 8)}
        second |= {f"REFLECTANCE_ADD_BAND_{n}": "-0.2" for n in range(1, 8)}
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = second
    return groups | {"LEVEL1_RADIOMETRIC_RESCALING": first}


def _mtl(groups):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, items in groups.items():
        lines.append(f"  GROUP = {name}")
        lines += [f"    {k} = {v}" if v[:1] in "-0123456789" else f'    {k} = "{v}"' for k, v in items.items()]
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


# ---- EnMAP -------------------------------------------------------------------------------


def enmap(folder, level="L2A", shape=(31, 41), count=12, described=None, bad=(7, 8), cube=None, nm=None):
    product = f"ENMAP01-____{level}-DT0000001049_20220612T105735Z_028_V010303_20230922T131826Z"
    where = folder / product
    if cube is None:
        cube = counts(5, (count, *shape), 0, 5000, "int16")
        cube[list(bad)] = -32768
    raster(where / f"{product}-SPECTRAL_IMAGE.TIF", cube, 30, nodata=-32768)
    described = len(cube) if described is None else described
    centres = np.linspace(418.24, 2445.3, described) if nm is None else nm
    characters = "".join(
        f'<bandID number="{i + 1}"><wavelengthCenterOfBand>{nm:.3f}</wavelengthCenterOfBand><FWHMOfBand>6.995</FWHMOfBand>'
        f"<GainOfBand>{0.0001 if level == 'L2A' else 0.005 + i}</GainOfBand><OffsetOfBand>{0 if level == 'L2A' else -0.5}</OffsetOfBand></bandID>"
        for i, nm in enumerate(centres)
    )
    statistics = "".join(
        f'<bandID number="{i + 1}"><wavelength>{nm:.3f}</wavelength><mean>300.5</mean>'
        f"<stdDeviation>{0 if i in bad else 120.25}</stdDeviation></bandID>"
        for i, nm in enumerate(centres)
    )
    (where / f"{product}-METADATA.XML").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<base><revision>1</revision><level>{level}</level><temporalCoverage><startTime>2022-06-12T10:57:35.1Z</startTime>"
        f"</temporalCoverage></base><specific><bandCharacterisation>{characters}</bandCharacterisation></specific>"
        f"<product><bandStatistics>{statistics}</bandStatistics></product></level_X>"
    )
    return where


# ---- PRISMA ------------------------------------------------------------------------------

VNIR_NM = (0.0, 0.0, 970.5, 950.25, 700.125, 500.0, 406.99338)
SWIR_NM = (2497.1155, 1600.5, 960.75, 943.358, 0.0)


def prisma(folder, level="2D", shape=(24, 30), pan=True, drop=()):
    """Cubes (row, band, column) from long to short wavelengths, with bands that were not measured."""
    path = folder / f"PRS_L{level}_STD_20200725100031_20200725100035_0001.he5"
    with h5py.File(path, "w") as file:
        fields = f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields"
        for which, centres, seed in (("Vnir", VNIR_NM, 1), ("Swir", SWIR_NM, 2)):
            cube = counts(seed, (len(centres), *shape), 1000, 60000)
            cube[[i for i, nm in enumerate(centres) if nm == 0]] = 0
            cube[:, 0, 0] = 0
            if which not in drop:
                file[f"{fields}/{which.upper()}_Cube"] = cube.transpose(1, 0, 2)
            file.attrs[f"List_Cw_{which}"] = np.array(centres, "float32")
            file.attrs[f"List_Fwhm_{which}"] = np.where(np.array(centres) > 0, 11.5, 0).astype("float32")
            file.attrs[f"L2Scale{which}Min"], file.attrs[f"L2Scale{which}Max"] = (
                np.float32(0.01 * seed),
                np.float32(0.8 * seed),
            )
        if pan:
            file[f"HDFEOS/SWATHS/PRS_L{level}_PCO/Data Fields/Cube"] = counts(
                3, (1, *(6 * n for n in shape)), 1000, 60000
            )[0]
        file.attrs["L2ScalePanMin"], file.attrs["L2ScalePanMax"] = np.float32(0.0), np.float32(0.5)
        file.attrs["Epsg_Code"] = np.uint32(32633)
        file.attrs["Product_ULcorner_easting"], file.attrs["Product_ULcorner_northing"] = EAST, NORTH
        file.attrs["Product_StartTime"] = np.bytes_("2020-07-25T10:00:31.123456")
    return path


# ---- EMIT --------------------------------------------------------------------------------


def emit(folder, shape=(23, 19, 9), variable="reflectance", drop=()):
    """A swath (downtrack, crosstrack, band) and a table that turns and shifts it; returns the path, swath and table."""
    path = folder / "EMIT_L2A_RFL_001_20230325T221005_2308414_015.nc"
    rows, columns, count = shape
    cube = counts(8, (count, rows, columns), 0, 5000).transpose(1, 2, 0).astype("float32") / 1e4
    cube[2, 3] = -9999
    height, width = columns + 6, rows + 4
    table_y, table_x = np.zeros((2, height, width), "int32")
    table_y[3 : 3 + columns, 2 : 2 + rows] = np.arange(rows) + 1
    table_x[3 : 3 + columns, 2 : 2 + rows] = (np.arange(columns) + 1)[::-1, None]
    with h5py.File(path, "w") as file:
        file[variable] = cube
        file["location/glt_y"], file["location/glt_x"] = table_y, table_x
        file["sensor_band_parameters/wavelengths"] = np.linspace(381.0, 2492.9, count, dtype="float32")
        file["sensor_band_parameters/fwhm"] = np.full(count, 8.4, "float32")
        file["sensor_band_parameters/good_wavelengths"] = np.array([1.0] * (count - 2) + [0.0, 1.0], "float32")
        file.attrs["geotransform"] = [-118.5, 0.0005422, 0.0, 34.75, 0.0, -0.0005422]
        file.attrs["spatial_ref"] = rasterio.crs.CRS.from_epsg(4326).to_wkt()
        file.attrs["time_coverage_start"] = "2023-03-25T22:10:05+0000"
        for name in drop:
            del file[name]
    return path, cube, np.stack([table_y, table_x])


# ---- Maxar -------------------------------------------------------------------------------


def maxar(
    folder,
    shape=(30, 42),
    names=("C", "B", "G", "Y", "R", "RE", "N", "N2"),
    pan=True,
    level="LV2A",
    tiles=2,
    satellite="WV02",
):
    """An order with a folder an image: IMD, TIL, and tiles side by side."""
    order = folder / "050112345010_01"
    cube, fine = counts(4, (len(names), *shape), 100, 1800), counts(4, (1, *(4 * n for n in shape)), 100, 1800)
    _image(order / "050112345010_01_P001_MUL", "M2AS", "Multi", names, cube, 2.0, level, tiles, satellite)
    if pan:
        _image(order / "050112345010_01_P001_PAN", "P2AS", "P", ("P",), fine, 0.5, level, tiles, satellite)
    return order


def _image(folder, kind, band_id, names, cube, gsd, level, tiles, satellite):
    stem = f"23JUN12100031-{kind}-050112345010_01_P001"
    _, height, width = cube.shape
    edges = np.linspace(0, width, tiles + 1).astype(int)
    listed = []
    for i, (x0, x1) in enumerate(pairwise(edges)):
        name = f"{stem.replace('-050', f'_R1C{i + 1}-050')}.TIF"
        raster(folder / name, cube[:, :, x0:x1], gsd, EAST + gsd * x0)
        listed.append((name, x0, x1))
    bands = "".join(
        f"BEGIN_GROUP = BAND_{n}\n\tULLon = 13.1;\n\tabsCalFactor = 9.295654e-03;\n\teffectiveBandwidth = 4.730000e-02;\nEND_GROUP = BAND_{n}\n"
        for n in names
    )
    projected = (
        ""
        if level.startswith("LV1")
        else (
            f"BEGIN_GROUP = MAP_PROJECTED_PRODUCT\n\tULX = {EAST + gsd / 2};\n\tULY = {NORTH - gsd / 2};\n\tproductGSD = {gsd:.3f};\nEND_GROUP = MAP_PROJECTED_PRODUCT\n"
        )
    )
    (folder / f"{stem}.IMD").write_text(
        f'version = "28.4";\nnumRows = {height};\nnumColumns = {width};\nproductLevel = "{level}";\nbandId = "{band_id}";\n'
        f'bitsPerPixel = 16;\n{bands}BEGIN_GROUP = IMAGE_1\n\tsatId = "{satellite}";\n\tfirstLineTime = 2023-06-12T10:00:31.123456Z;\n'
        f"END_GROUP = IMAGE_1\n{projected}END;\n"
    )
    pieces = "".join(
        f'BEGIN_GROUP = TILE_{i + 1}\n\tfilename = "{name}";\n\tULColOffset = {x0};\n\tULRowOffset = 0;\n\tURColOffset = {x1 - 1};\n'
        f"\tURRowOffset = 0;\n\tLRColOffset = {x1 - 1};\n\tLRRowOffset = {height - 1};\n\tLLColOffset = {x0};\n\tLLRowOffset = {height - 1};\nEND_GROUP = TILE_{i + 1}\n"
        for i, (name, x0, x1) in enumerate(listed)
    )
    (folder / f"{stem}.TIL").write_text(
        f'bandId = "{band_id}";\nnumTiles = {len(listed)};\ntileSizeUnits = "Pixels";\n{pieces}END;\n'
    )
