"""STAC items of one asset a band, as the public catalogues have them, and their files."""

import json

import delivered
import numpy as np

# Key and band of Earth Search, band of the sensor, GSD, centre and FWHM in micrometres.
SENTINEL_2 = (
    ("blue", "B02", 10, 0.49, 0.098), ("green", "B03", 10, 0.56, 0.045), ("red", "B04", 10, 0.665, 0.038),
    ("nir", "B08", 10, 0.842, 0.145), ("rededge1", "B05", 20, 0.704, 0.019), ("rededge2", "B06", 20, 0.74, 0.018),
    ("swir16", "B11", 20, 1.61, 0.143), ("coastal", "B01", 60, 0.443, 0.027),
)  # fmt: skip
SIDE_M = 960


def files(folder, bands=SENTINEL_2):
    """One GeoTIFF a band; returns their stored values."""
    values = {}
    for number, (_, name, gsd, _, _) in enumerate(bands):
        side = SIDE_M // gsd
        values[name] = delivered.counts(number, (1, side, side), 1200, 6000)
        delivered.raster(folder / f"{name}.tif", values[name], gsd, nodata=0, tiled=True, blockxsize=32, blockysize=32)
    return values


def item(base="./", version="1.0.0", bands=SENTINEL_2, *, id_="S2A_33UUB_20230612_0_L2A", jp2=False, **properties):
    """An item of Earth Search; of STAC 1.1 it has `bands`."""
    assets = {}
    for key, name, gsd, centre, fwhm in bands:
        asset = {"href": f"{base}{name}.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized"}
        asset |= {"roles": ["data", "reflectance"], "proj:shape": [SIDE_M // gsd] * 2}
        asset |= {"proj:transform": [gsd, 0, delivered.EAST, 0, -gsd, delivered.NORTH], "gsd": gsd}
        if version == "1.0.0":
            asset["eo:bands"] = [{"name": key, "center_wavelength": centre, "full_width_half_max": fwhm}]
            if not key.startswith("rededge"):
                asset["eo:bands"][0]["common_name"] = key
            asset["raster:bands"] = [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": -0.1}]
        else:
            asset["bands"] = [{"name": name, "eo:common_name": key, "eo:center_wavelength": centre}]
            asset["bands"][0] |= {
                "eo:full_width_half_max": fwhm,
                "nodata": 0,
                "raster:scale": 0.0001,
                "raster:offset": -0.1,
            }
        assets[key] = asset
        if jp2:
            assets[f"{key}-jp2"] = {**asset, "href": f"s3://sentinel-s2-l2a/{name}.jp2", "type": "image/jp2"}
    other = {"type": "image/tiff; application=geotiff", "roles": ["data"]}
    three = [{"name": n} for n in ("red", "green", "blue")]
    assets["visual"] = {**other, "href": f"{base}TCI.tif", "roles": ["visual"], "eo:bands": three}
    assets["scl"] = {**other, "href": f"{base}SCL.tif", "raster:bands": [{"nodata": 0, "data_type": "uint8"}]}
    assets["thumbnail"] = {"href": f"{base}preview.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    assets["granule_metadata"] = {"href": f"{base}metadata.xml", "type": "application/xml", "roles": ["metadata"]}
    defaults = {"datetime": "2023-06-12T10:00:31Z", "platform": "sentinel-2a", "s2:processing_baseline": "05.09"}
    return {
        "type": "Feature", "stac_version": version, "id": id_, "geometry": None, "links": [], "stac_extensions": [],
        "properties": defaults | properties, "assets": assets,
    }  # fmt: skip


def written(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def reflectance(values, names, offset=-0.1):
    return np.stack([values[n][0].astype("float64") * 1e-4 + offset for n in names]).astype("float32")
