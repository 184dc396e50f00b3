"""Declared sizes: giants that hold nothing, blocks and chunks beyond the memory, tiles beyond any scene."""

import json
import struct
import zlib

import h5py
import pytest
import rasterio
import zarr
from delivered import counts, raster
from hostile_case import Case, check
from rasterio.transform import from_origin

UPSCALE = ["--scale", "2", "-o", "o.tif"]


def sparse(side, **options):
    """A TIFF that declares a square of pixels and stores none."""

    def make(folder):
        profile = {"driver": "GTiff", "count": 1, "height": side, "width": side, "dtype": "uint16", "crs": "EPSG:32633"}
        layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "SPARSE_OK": "TRUE", "BIGTIFF": "YES", **options}
        with rasterio.open(folder / "s.tif", "w", **profile, transform=from_origin(4e5, 5.8e6, 8, 8), **layout):
            pass
        return ["upscale", "s.tif", *UPSCALE]

    return make


def vrt(height, width):
    def make(folder):
        raster(folder / "small.tif", counts(1, (1, 20, 20)), 8.0)
        (folder / "s.vrt").write_text(
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><VRTRasterBand dataType="UInt16" band="1">'
            '<SimpleSource><SourceFilename relativeToVRT="1">small.tif</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
        return ["upscale", "s.vrt", *UPSCALE]

    return make


def store(shape, chunks):
    """A Zarr array that declares a shape, and stores the chunk of its last pixel only if it is small."""

    def make(folder):
        group = zarr.open_group(folder / "s.zarr", mode="w", zarr_format=3)
        array = group.create_array("v", shape=shape, chunks=chunks, dtype="uint16", dimension_names=("y", "x"))
        array.attrs["scale_factor"] = 0.5
        return ["upscale", "s.zarr", *UPSCALE]

    return make


def cut_chunk(shape):
    """A Zarr array of one chunk, whose file has a few bytes."""

    def make(folder):
        command = store(shape, shape)(folder)
        chunk = folder / "s.zarr" / "v" / "c" / "0" / "0"
        chunk.parent.mkdir(parents=True)
        chunk.write_bytes(b"few bytes")
        return command

    return make


def hdf5(side, name="s.mat", **options):
    def make(folder):
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("ref", shape=(31, side, side), dtype="uint16", **options)
        return ["upscale", name, "--sensor", "cave", *UPSCALE]

    return make


def matlab(side):
    """A MATLAB 5 file whose header declares a cube of doubles that the file does not hold."""

    def make(folder):
        flags = struct.pack("<IIII", 6, 8, 6, 0)
        dims = struct.pack("<IIiii4x", 5, 12, side, side, 31)
        name = struct.pack("<II", 1, 3) + b"ref\0\0\0\0\0"
        data = struct.pack("<II", 9, 800) + bytes(800)
        body = flags + dims + name + data
        header = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + struct.pack("<H2s", 0x0100, b"IM")
        (folder / "s.mat").write_bytes(header + struct.pack("<II", 14, len(body)) + body)
        return ["upscale", "s.mat", "--sensor", "cave", *UPSCALE]

    return make


def strip(side):
    """A TIFF of a single deflate strip of zeros."""

    def make(folder):
        packer = zlib.compressobj(1)
        rows = max(1, (1 << 24) // side)
        data = (
            b"".join(packer.compress(bytes(min(rows, side - y) * side)) for y in range(0, side, rows)) + packer.flush()
        )
        entries = (
            (256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, side), (279, 4, len(data)),
        )  # fmt: skip
        directory = struct.pack("<H", len(entries)) + b"".join(
            struct.pack("<HHI", tag, kind, 1) + (struct.pack("<HH", v, 0) if kind == 3 else struct.pack("<I", v))
            for tag, kind, v in entries
        )
        content = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)
        (folder / "s.tif").write_bytes(content)
        return ["upscale", "s.tif", *UPSCALE]

    return make


def small(*arguments):
    def make(folder):
        raster(folder / "s.tif", counts(1, (3, 24, 24)), 8.0)
        return ["upscale", "s.tif", *UPSCALE, *arguments]

    return make


def dry(make):
    return lambda folder: [*make(folder), "--dry-run"]


def degraded(make):
    return lambda folder: ["degrade", *make(folder)[1:]]


def with_options(make, *arguments):
    return lambda folder: [*make(folder), *arguments]


def shows_room(_folder, outcome):
    plan = json.loads(outcome.out)
    assert plan["free_disk_bytes"] > 0
    assert plan["largest_disk_bytes"] > 0


CASES = (
    *(
        Case(f"a sparse TIFF of {side} x {side} pixels, {name}", change(sparse(side)), error=r"1000000 x 1000000|more than|free")
        for side in (1_000_000, 400_000)
        for name, change in (("upscale", lambda m: m), ("--dry-run", dry))
    ),
    Case("a sparse TIFF of 1e6 x 1e6 pixels, degrade", degraded(sparse(1_000_000)), error="tiles"),
    Case("a sparse TIFF with a huge tile", with_options(sparse(300_000), "--tile", "60000"), error="memory|disk"),
    Case("a VRT of 2e9 x 2e9", vrt(2_000_000_000, 2_000_000_000), error="tiles"),
    Case("a VRT of 1 x 2e9", vrt(1, 2_000_000_000), error="tiles"),
    Case("a VRT of 2e9 x 1 by bicubic", with_options(vrt(2_000_000_000, 1), "--model", "bicubic"), error="tiles"),
    Case("a Zarr array of 1e9 x 1e9", store((10**9, 10**9), (1000, 1000)), error="tiles"),
    Case("a Zarr array of one chunk of 40 GB", store((140_000, 140_000), (140_000, 140_000)), error=r"chunk.*GB.*memory"),
    Case("a Zarr array of one chunk of a few bytes", cut_chunk((140_000, 140_000)), error=r"chunk.*GB.*memory"),
    Case("a MATLAB 7.3 file of 1e6 x 1e6", hdf5(1_000_000, chunks=(1, 100, 100)), error="tiles"),
    Case("a MATLAB 7.3 file without storage", hdf5(1_000_000), error="tiles"),
    Case("a MATLAB 7.3 file of a huge chunk", hdf5(100_000, chunks=(1, 40_000, 40_000)), error=r"chunk|tiles|free"),
    Case("a MATLAB 5 file of 1e7 x 1e7", matlab(10_000_000), error=r"s\.mat declares .*damaged"),
    Case("a MATLAB 5 file of 1e4 x 1e4", matlab(10_000), error=r"s\.mat declares .*damaged"),
    Case("a deflate strip of 0.6 GB", strip(25_000), error=r"25000 x 25000.*gdal_translate -co TILED=YES"),
    *(Case(f"--tile {tile}", small("--tile", str(tile)), error=r"--tile .*65536") for tile in (10**9, 10**18, 65537)),
    Case("--tile 65521, a prime", small("--tile", "65521")),
    Case("the plan shows the free disk", small("--dry-run"), verify=shows_room),
    *(
        Case(f"degrade --scale {scale}", lambda folder, s=scale: ["degrade", small()(folder)[1], "--scale", s, "-o", "o.tif"],
             error=rf"--scale {scale}")
        for scale in ("0", "-1", "1", "25", "1000000000000")
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)
