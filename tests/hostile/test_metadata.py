"""Metadata that contradict themselves: scale, offset, nodata, grids, and attributes of another type."""

import json

import numpy as np
import pytest
import rasterio
import scipy.io
import xarray as xr
import zarr
from delivered import counts, raster, sentinel2
from hostile_case import Case, check

SIDE = 24


def cube(dtype="uint16", bands=3, side=SIDE):
    return counts(1, (bands, side, side), dtype=dtype)


def scene(*, scale=None, offset=None, pixels=None, **options):
    """A TIFF whose packing is set as given."""

    def make(folder):
        raster(folder / "s.tif", cube() if pixels is None else pixels, 8.0, **options)
        with rasterio.open(folder / "s.tif", "r+") as file:
            if scale is not None:
                file.scales = (1.0, scale, 1.0)
            if offset is not None:
                file.offsets = (0.0, offset, 0.0)
        return ["upscale", "s.tif", "--scale", "2", "-o", "o.tif"]

    return make


def envi(**header):
    """An ENVI file with more lines in its header."""

    def make(folder):
        raster(folder / "s.img", cube(), 8.0, driver="ENVI")
        lines = "".join(f"{name.replace('_', ' ')} = {value}\n" for name, value in header.items())
        with (folder / "s.hdr").open("a") as file:
            file.write(lines)
        return ["upscale", "s.img", "--scale", "2", "-o", "o.tif"]

    return make


def store(change, name="s.zarr"):
    """A Zarr group whose metadata documents `change` edits: a function of path and JSON value."""

    def make(folder):
        y, x = 5800000.0 - 8 * np.arange(SIDE), 400000.0 + 8 * np.arange(SIDE)
        array = xr.DataArray(cube(), dims=("band", "y", "x"), coords={"band": [1, 2, 3], "y": y, "x": x}, name="v")
        mapping = xr.DataArray(0, attrs={"crs_wkt": rasterio.CRS.from_epsg(32633).to_wkt()})
        array = array.assign_coords(spatial_ref=mapping)
        array.attrs = {"scale_factor": 0.0001, "grid_mapping": "spatial_ref"}
        array.to_dataset().to_zarr(folder / name, consolidated=False, zarr_format=3)
        for path in sorted((folder / name).rglob("zarr.json")):
            value = json.loads(path.read_text())
            change(path.parent.name, value)
            path.write_text(json.dumps(value))
        return ["upscale", name, "--scale", "2", "-o", "o.tif"]

    return make


def attribute(node, key, value):
    """A Zarr group with one attribute of a node replaced."""

    def change(name, document):
        if name == node:
            document.setdefault("attributes", {})[key] = value

    return store(change)


def coordinate(node, values):
    """A Zarr group whose coordinate has other values."""

    def make(folder):
        command = store(lambda _name, _document: None)(folder)
        group = zarr.open_group(folder / "s.zarr", mode="r+")
        group[node][:] = values
        return command

    return make


def lazy(*, coords=None, encoding=None, **attrs):
    """An xarray object with attributes, given to the accessor."""

    def make(_folder):
        array = xr.DataArray(cube(), dims=("band", "y", "x"), coords=coords or {}, attrs=attrs, name="s")
        array.encoding = encoding or {}
        return lambda: array.dualsr.upscale(scale=2).compute().shape

    return make


def safe(quantification):
    def make(folder):
        product = sentinel2(folder)
        document = next(product.glob("MTD_*.xml"))
        document.write_text(document.read_text().replace(">10000<", f">{quantification}<"))
        return ["info", str(product.relative_to(folder))]

    return make


def matlab(damage, version="5"):
    """A MATLAB file whose bytes are damaged."""

    def make(folder):
        scipy.io.savemat(
            folder / "s.mat", {"ref": cube("uint16", 31).transpose(1, 2, 0)}, do_compression=version == "5c"
        )
        content = bytearray((folder / "s.mat").read_bytes())
        (folder / "s.mat").write_bytes(damage(content))
        return ["upscale", "s.mat", "--sensor", "cave", "--scale", "2", "-o", "o.tif"]

    return make


def flipped(position, value=0xFF):
    def damage(content):
        content[position] ^= value
        return bytes(content)

    return damage


PACKING = (
    *(
        Case(f"a scale of {value!r} in a TIFF", scene(scale=value), error=rf"s\.tif.*scale.*{pattern}.*(gdal_edit|rio)")
        for value, pattern in (
            (0.0, "0"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (1e-300, "1e-300"),
            (1e300, r"1e\+300"),
        )
    ),
    *(
        Case(f"an offset of {value!r} in a TIFF", scene(offset=value), error=rf"s\.tif.*offset.*{pattern}")
        for value, pattern in ((float("nan"), "nan"), (float("-inf"), "-inf"), (1e300, r"1e\+300"))
    ),
    Case("a negative scale", scene(scale=-0.5)),
    Case(
        "nodata inf of a float scene",
        scene(pixels=cube("float32"), nodata=float("inf")),
        error=r"s\.tif.*nodata.*inf.*--nodata",
    ),
    Case(
        "--nodata inf",
        lambda folder: [*scene(pixels=cube("float32"))(folder), "--nodata", "inf"],
        error=r"--nodata inf",
    ),
    *(
        Case(
            f"an ENVI factor of {value}",
            envi(reflectance_scale_factor=value),
            error=rf"reflectance scale factor.*{value}",
        )
        for value in ("abc", "0", "-10000", "inf", "nan", "1e-320")
    ),
    *(
        Case(f"a quantification value of {value}", safe(value), error=rf"QUANTIFICATION_VALUE.*{value}")
        for value in ("0", "-1", "inf", "nan", "1e-320")
    ),
    *(
        Case(f"{key} = {value!r} for the accessor", lazy(**{key: value}), error=key)
        for key in ("scale_factor", "add_offset")
        for value in ("abc", float("nan"), float("inf"), [1, 2, "x"], [0.1, 0.2], {"a": 1}, 1e300)
    ),
    Case("scale_factor = 0 for the accessor", lazy(scale_factor=0.0), error=r"scale 0 .*scale_factor"),
    Case(
        "a scale of 0 in the encoding",
        lazy(encoding={"scale_factor": 0.0, "dtype": "float32"}, scale_factor=0),
        error="scale",
    ),
    *(
        Case(f"_FillValue = {value!r} for the accessor", lazy(_FillValue=value), error=r"_FillValue")
        for value in ("abc", [], {"a": 1}, ["x"])
    ),
)

ATTRIBUTES = (
    *(
        Case(f"{key} = {value!r} in Zarr", attribute("v", key, value), error=rf"s\.zarr.*{key}")
        for key in ("scale_factor", "add_offset")
        for value in ("abc", [], {"a": 1}, True, [0.1, "x", 0.2], "inf")
    ),
    *(
        Case(f"_FillValue = {value!r} in Zarr", attribute("v", "_FillValue", value), error=r"s\.zarr")
        for value in ("abc", {"a": 1}, ["x"])
    ),
    *(
        Case(
            f"GeoTransform = {value!r} in Zarr",
            attribute("spatial_ref", "GeoTransform", value),
            error=r"s\.zarr.*GeoTransform",
        )
        for value in ("abc", "1 2 3", [1, 2], {"a": 1}, 7, "nan 1 0 0 0 1", "0 0 0 0 0 0", "1e400 8 0 0 0 -8")
    ),
    *(
        Case(f"crs_wkt = {value!r} in Zarr", attribute("spatial_ref", "crs_wkt", value), error=r"s\.zarr.*CRS")
        for value in ("nonsense", {"a": 1}, [1], 7)
    ),
    Case(
        "a grid mapping without its numbers",
        attribute("spatial_ref", "crs_wkt", ""),
    ),
    Case("grid_mapping = 7 in Zarr", attribute("v", "grid_mapping", 7), error=r"s\.zarr"),
    Case("grid_mapping of blanks in Zarr", attribute("v", "grid_mapping", "  ")),
    Case("_ARRAY_DIMENSIONS of text", attribute("v", "units", ["a", {"b": 2}])),
    Case("long_name = {} in Zarr", attribute("v", "long_name", {"a": 1})),
    Case("gdal_metadata = 7 in Zarr", attribute("s.zarr", "gdal_metadata", 7)),
    Case("gdal_metadata of lists", attribute("s.zarr", "gdal_metadata", {"a": [1]})),
    Case("band_tags = 7", attribute("v", "band_tags", 7)),
    Case("wavelength of text", attribute("v", "wavelength", ["a", "b", None])),
    Case("a coordinate of NaN", coordinate("x", np.nan), error=r"s\.zarr.*`x`"),
    Case("a constant coordinate", coordinate("y", 3.0), error=r"s\.zarr.*`y`.*not evenly"),
    Case("a coordinate of inf", coordinate("x", np.inf), error=r"s\.zarr.*`x`"),
    Case("an unsorted coordinate", coordinate("x", np.r_[5.0, np.arange(23.0)]), error=r"s\.zarr.*`x`.*not evenly"),
)

MATLAB = (
    Case("a MATLAB file cut in its data", matlab(lambda c: bytes(c[: len(c) // 2])), error=r"s\.mat.*damaged"),
    Case("a MATLAB file cut in its header", matlab(lambda c: bytes(c[:130])), error=r"s\.mat"),
    Case("an empty MATLAB file", matlab(lambda _: b""), error=r"s\.mat"),
    Case("a compressed MATLAB file cut", matlab(lambda c: bytes(c[: len(c) // 2]), "5c"), error=r"s\.mat.*damaged"),
    *(
        Case(f"a MATLAB file with byte {i} wrong", matlab(flipped(i)), error=r"s\.mat")
        for i in (126, 128, 129, 132, 144, 160)
    ),
    *(
        Case(f"a compressed MATLAB file with byte {i} wrong", matlab(flipped(i), "5c"), error=r"s\.mat")
        for i in (128, 136, 140, 200, 1000)
    ),
)


def tiff(keep, *, overviews=(), mask=False, **options):
    """A TIFF with scale, names and tags, of which `keep` of 1 is left; or the overview or mask file next to it."""

    def make(folder):
        raster(folder / "s.tif", cube(side=40), 8.0, **options)
        with (
            rasterio.Env(TIFF_USE_OVR=True, GDAL_TIFF_INTERNAL_MASK=False),
            rasterio.open(folder / "s.tif", "r+") as file,
        ):
            file.scales, file.descriptions = (0.0001,) * 3, ("red", "green", "blue")
            file.update_tags(1, wavelength="650")
            file.build_overviews(overviews) if overviews else None
            file.write_mask(np.full((40, 40), 255, np.uint8)) if mask else None
        name = "s.tif.ovr" if overviews else "s.tif.msk" if mask else "s.tif"
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])
        return ["upscale", "s.tif", "--scale", "2", "-o", "o.tif"]

    return make


def kept_packing(folder, _outcome):
    with rasterio.open(folder / "o.tif") as product:
        assert product.scales == (0.0001,) * 3
        assert product.descriptions[0] == "red"


LAYOUTS = {
    "strips": {}, "a compressed TIFF": {"compress": "deflate"}, "bands apart": {"interleave": "band"},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 16}, "BigTIFF": {"BIGTIFF": "YES"},
    "big-endian": {"ENDIANNESS": "BIG"}, "big-endian BigTIFF": {"ENDIANNESS": "BIG", "BIGTIFF": "YES", "compress": "lzw"},
}  # fmt: skip
TRUNCATED = (
    *(
        Case(f"{name}, complete", tiff(1.0, **options), verify=kept_packing, quiet=True)
        for name, options in LAYOUTS.items()
    ),
    *(
        Case(f"{name}, cut at {keep}", tiff(keep, **options), error=r"s\.tif.*(truncated|cannot be opened)")
        for name, options in LAYOUTS.items()
        for keep in (0.3, 0.9, 0.99, 0.999)
    ),
    Case("an overview file, complete", tiff(1.0, overviews=(2,)), verify=kept_packing),
    Case("an overview file, cut", tiff(0.5, overviews=(2,)), error=r"s\.tif\.ovr.*truncated"),
    Case("a mask file, complete", tiff(1.0, mask=True), verify=kept_packing),
    *(
        Case(f"a mask file, cut at {keep}", tiff(keep, mask=True), error=r"s\.tif\.msk.*(truncated|damaged|fetch)")
        for keep in (0, 0.05, 0.3, 0.8, 0.99)
    ),
    Case("a sparse TIFF", scene(pixels=None, SPARSE_OK="TRUE")),
)

# A product takes a second: the quick list has the refusals, and a product of each kind.
QUICK = {
    "a negative scale",
    "strips, complete",
    "BigTIFF, complete",
    "a mask file, complete",
    "a sparse TIFF",
    "gdal_metadata = 7 in Zarr",
}
ALL = (*PACKING, *ATTRIBUTES, *MATLAB, *TRUNCATED)
CASES = tuple(c for c in ALL if c.error is not None or c.name in QUICK)
LONG_CASES = tuple(c for c in ALL if c not in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_long(case, tmp_path):
    check(case, tmp_path)
