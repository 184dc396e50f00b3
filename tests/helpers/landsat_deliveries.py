"""Small Landsat deliveries in the layouts of USGS: Collections 1 and 2, levels 1 and 2, and before the collections."""

import json

import numpy as np
from delivered import EAST, NORTH, counts, raster

SHAPE = (36, 44)
# Reflective, thermal and panchromatic bands of level 1 as the MTL file names them, stored type and counts.
INSTRUMENTS = {
    "LC08": ("LANDSAT_8", "OLI_TIRS", "1 2 3 4 5 6 7 9", "10 11", "8", "uint16", (7000, 20000)),
    "LC09": ("LANDSAT_9", "OLI_TIRS", "1 2 3 4 5 6 7 9", "10 11", "8", "uint16", (7000, 20000)),
    "LE07": ("LANDSAT_7", "ETM", "1 2 3 4 5 7", "6_VCID_1 6_VCID_2", "8", "uint8", (30, 200)),
    "LT05": ("LANDSAT_5", "TM", "1 2 3 4 5 7", "6", "", "uint8", (30, 200)),
    "LT04": ("LANDSAT_4", "TM", "1 2 3 4 5 7", "6", "", "uint8", (30, 200)),
    "LM05": ("LANDSAT_5", "MSS", "1 2 3 4", "", "", "uint8", (30, 200)),
    "LM02": ("LANDSAT_2", "MSS", "4 5 6 7", "", "", "uint8", (30, 200)),
}
SUN_ELEVATION = 30.0


def scale_of(band):
    """Return MULT and ADD of a band's reflectance or radiance: other ones for each band."""
    digit = int(band.removeprefix("ST_B").partition("_")[0])
    return 0.0011 + 0.0001 * digit, -0.02 - 0.001 * digit


def delivery(
    folder,
    craft="LE07",
    level="L1TP",
    collection="01",
    form="txt",
    gaps=False,
    quantity="REFLECTANCE",
    date="20170316",
    sun=SUN_ELEVATION,
    shape=SHAPE,
    tag=255,
):
    """A folder with the images and the MTL file (`form`: txt, json, xml, or None for no MTL file)."""
    spacecraft, sensor, reflective, thermal, pan, dtype, limits = INSTRUMENTS[craft]
    product = f"{craft}_{level}_167055_{date}_20170411_{collection}_T1"
    where = folder / product
    surface = level.startswith("L2")
    bands = [b for b in reflective.split() if not (surface and b == "9")]
    heat = ([f"ST_B{thermal.split()[0].partition('_')[0]}"] if surface else thermal.split()) if thermal else []
    names = {b: f"{product}_{'SR_' if surface else ''}B{b}.TIF" for b in bands}
    names |= {b: f"{product}_{'' if surface else 'B'}{b}.TIF" for b in heat}
    kind, low_high = ("uint16", (8000, 30000)) if surface else (dtype, limits)
    gsd = 60 if sensor == "MSS" else 30
    cube = counts(31, (len(names), *shape), *low_high, kind)
    if gaps:
        cube[:, _gaps(shape)] = 0
    for (_, name), plane in zip(names.items(), cube, strict=True):
        raster(where / name, plane[None], gsd, nodata=tag if kind == "uint8" else 0)
    if pan and not surface:
        names[pan] = f"{product}_B{pan}.TIF"
        at = [(np.arange(2 * n - 1) + 1) / (2 * n) for n in shape]
        fine = counts(31, (1, *(2 * n - 1 for n in shape)), *low_high, kind, at=at)
        if gaps:
            fine[:, _gaps(fine.shape[1:], 2)] = 0
        raster(where / names[pan], fine, gsd / 2, EAST + gsd / 4, NORTH - gsd / 4, nodata=tag)
    groups = _groups(product, level, collection, spacecraft, sensor, names, quantity, date, sun, surface)
    if form is not None:
        (where / f"{product}_MTL.{form}").write_text(document(groups, form))
    return where


def document(groups, form="txt"):
    """Return the text of an MTL file."""
    if form == "json":
        return json.dumps({"LANDSAT_METADATA_FILE": groups})
    if form == "xml":
        inner = "".join(
            f"<{g}>{''.join(f'<{k}>{v}</{k}>' for k, v in items.items())}</{g}>" for g, items in groups.items()
        )
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>'
    lines = ["GROUP = L1_METADATA_FILE "]
    for name, items in groups.items():
        lines.append(f"  GROUP = {name} ")
        lines += [f"    {k} = {v}" if str(v)[:1] in "-0123456789" else f'    {k} = "{v}"' for k, v in items.items()]
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, "END_GROUP = L1_METADATA_FILE", "END", "\0" * 40])


def before_collections(folder):
    """Landsat 5 of 2003 as USGS delivered it: other names, and radiances of the extreme counts only."""
    names = {f"BAND{b}_FILE_NAME": f"L5195030_03020030914_B{b}0.TIF" for b in range(1, 8)}
    cube = counts(7, (7, *SHAPE), 30, 200, "uint8")
    for name, plane in zip(names.values(), cube, strict=True):
        raster(folder / name, plane[None], 30)
    radiance = {f"LMAX_BAND{b}": f"{100 + b}.000" for b in range(1, 8)}
    radiance |= {f"LMIN_BAND{b}": f"-{b}.500" for b in range(1, 8)}
    extremes = {f"QCALMAX_BAND{b}": "255.0" for b in range(1, 8)} | {f"QCALMIN_BAND{b}": "1.0" for b in range(1, 8)}
    content = {
        "PRODUCT_TYPE": "L1T", "SPACECRAFT_ID": "Landsat5", "SENSOR_ID": "TM", "ACQUISITION_DATE": "2003-09-14",
        "SCENE_CENTER_SCAN_TIME": "09:55:12.2280500Z", "WRS_PATH": "195", "STARTING_ROW": "30",
    }  # fmt: skip
    groups = {
        "PRODUCT_METADATA": content | names,
        "MIN_MAX_RADIANCE": radiance,
        "MIN_MAX_PIXEL_VALUE": extremes,
        "PRODUCT_PARAMETERS": {"SUN_ELEVATION": "45.0704270"},
    }
    (folder / "L5195030_03020030914_MTL.txt").write_text(document(groups))
    return folder


def espa(folder, bands=(1, 2, 3, 4, 5, 6, 7)):
    """Surface reflectance of Collection 1 on demand: GeoTIFF a band, and an XML file."""
    product = "LC08_L1TP_167055_20170316_20170411_01_T1"
    where = folder / "LC081670552017031601T1-SC20181017"
    cube = counts(8, (len(bands), *SHAPE), 200, 6000, "int16")
    cube[:, :3] = -9999
    entries = ['<band product="toa_refl" name="radsat_qa" category="qa"><file_name>none.tif</file_name></band>']
    for band, plane in zip(bands, cube, strict=True):
        name = f"{product}_sr_band{band}.tif"
        raster(where / name, plane[None], 30, nodata=-9999)
        entries.append(
            f'<band product="sr_refl" name="sr_band{band}" category="image" data_type="INT16" fill_value="-9999" '
            f'scale_factor="0.000100"><file_name>{name}</file_name></band>'
        )
    (where / f"{product}.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<espa_metadata version="2.0" xmlns="http://espa.cr.usgs.gov/v2"><global_metadata>'
        "<acquisition_date>2017-03-16</acquisition_date><scene_center_time>07:36:26.41Z</scene_center_time>"
        f"</global_metadata><bands>{''.join(entries)}</bands></espa_metadata>"
    )
    return where


def _gaps(shape, ratio=1):
    """Oblique gaps as those of Landsat 7 after May 2003."""
    y, x = np.indices(shape) / ratio
    return ((y + x / 6) % 16) < 4


def _groups(product, level, collection, spacecraft, sensor, names, quantity, date, sun, surface):
    second = collection == "02"
    content = {"LANDSAT_PRODUCT_ID": product, "PROCESSING_LEVEL" if second else "DATA_TYPE": level}
    content |= {f"FILE_NAME_BAND_{b}": f for b, f in names.items()} | {"FILE_NAME_BAND_QUALITY": "x_BQA.TIF"}
    craft = {
        "SPACECRAFT_ID": spacecraft,
        "SENSOR_ID": sensor,
        "WRS_PATH": "167",
        "WRS_ROW": "055",
        "DATE_ACQUIRED": f"{date[:4]}-{date[4:6]}-{date[6:]}",
        "SCENE_CENTER_TIME": "07:36:26.4131710Z",
    }
    image = {"SUN_ELEVATION": f"{sun:.8f}"}
    rescaling = {}
    for band in names:
        mult, add = scale_of(band)
        rescaling |= {f"RADIANCE_MULT_BAND_{band}": f"{mult * 10:.6f}", f"RADIANCE_ADD_BAND_{band}": f"{add * 10:.6f}"}
        if quantity == "REFLECTANCE" and not band.startswith(("6_", "10", "11")):
            rescaling |= {f"REFLECTANCE_MULT_BAND_{band}": f"{mult:.6f}", f"REFLECTANCE_ADD_BAND_{band}": f"{add:.6f}"}
    groups = {}
    if second:
        groups["PRODUCT_CONTENTS"], groups["IMAGE_ATTRIBUTES"] = content, craft | image
    else:
        groups["PRODUCT_METADATA"], groups["IMAGE_ATTRIBUTES"] = content | craft, image
    if surface:
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = {
            f"REFLECTANCE_{part}_BAND_{b}": v for b in names for part, v in (("MULT", "2.75e-05"), ("ADD", "-0.2"))
        }
        groups["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"] = {
            f"TEMPERATURE_{part}_BAND_{b}": v
            for b in names
            for part, v in (("MULT", "0.00341802"), ("ADD", "149.0"))
            if b.startswith("ST_")
        }
    groups["LEVEL1_RADIOMETRIC_RESCALING" if second else "RADIOMETRIC_RESCALING"] = rescaling
    return groups
