"""Scenes that name other files: of their own folder, of the machine, of the network, of databases."""

import os
import socket
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from delivered import raster
from hostile_case import Case, check

from dualsr_geo.cli import main
from dualsr_geo.io.scenes import open_scene

SIDE = 12
OUTSIDE = r"refers to .*, which is not in .* or below\. .*--trust-references"


def cube(seed=1, bands=1):
    return np.random.default_rng(seed).integers(500, 5000, (bands, SIDE, SIDE)).astype("uint16")


def vrt(source, relative=1, band="", extra=""):
    """The text of a VRT of one band of one source."""
    return (
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><VRTRasterBand dataType="UInt16" band="1" {band}>{extra}'
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def folders(folder):
    """A folder of a scene with rasters in it and below it, and another folder with a secret raster."""
    for path in ("scene/a.tif", "scene/tiles/b.tif", "other/secret.tif"):
        raster(folder / path, cube(), 8.0)
    (folder / "other/secret.bin").write_bytes(bytes(range(256)) * 8)


def scene_of(text, name="scene.vrt", command=("info",), more=None):
    """Return a function that writes a VRT and answers with a command on it."""

    def make(folder):
        folders(folder)
        if more is not None:
            more(folder)
        content = text(folder) if callable(text) else text
        (folder / "scene" / name).write_text(content)
        return [*command, f"scene/{name}"]

    return make


def upscale(text, **options):
    return scene_of(text, command=("upscale", "--model", "bicubic", "--scale", "2", "-o", "o.tif"), **options)


def the_product_is_of(path):
    """Return a check that the product has the values of a raster."""

    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as product, rasterio.open(folder / path) as source:
            assert abs(product.read().mean() - source.read(1).mean()) < 60

    return verify


def no_product(folder, _outcome):
    assert not list(folder.glob("o.tif*"))


def nested(folder):
    (folder / "scene/inner.vrt").write_text(vrt("../other/secret.tif"))


def header(folder):
    """A header of ER Mapper in the folder of the scene, which names raw values elsewhere."""
    (folder / "scene/inner.ers").write_text(
        'DatasetHeader Begin\n Version = "6.0"\n DataSetType = ERStorage\n DataType = Raster\n ByteOrder = LSBFirst\n'
        ' DataFile = "../other/secret.bin"\n'
        " RasterInfo Begin\n  CellType = Unsigned8BitInteger\n  NrOfLines = 12\n  NrOfCellsPerLine = 12\n"
        "  NrOfBands = 1\n RasterInfo End\nDatasetHeader End\n"
    )


def link(folder):
    (folder / "scene/link.tif").symlink_to(folder / "other/secret.tif")


def pipe(folder):
    os.mkfifo(folder / "scene/pipe.tif")


RAW = (
    '<VRTDataset rasterXSize="12" rasterYSize="12"><VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
    '<SourceFilename relativeToVRT="{}">{}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>'
    "<LineOffset>12</LineOffset></VRTRasterBand></VRTDataset>"
)
WARPED = (
    '<VRTDataset rasterXSize="12" rasterYSize="12" subClass="VRTWarpedDataset"><VRTRasterBand dataType="UInt16" band="1" '
    'subClass="VRTWarpedRasterBand"/><GDALWarpOptions><SourceDataset relativeToVRT="1">../other/secret.tif</SourceDataset>'
    "</GDALWarpOptions></VRTDataset>"
)
PANSHARPENED = (
    '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions><PanchroBand><SourceFilename relativeToVRT="1">'
    "../other/secret.tif</SourceFilename><SourceBand>1</SourceBand></PanchroBand></PansharpeningOptions></VRTDataset>"
)
PYTHON = (
    '<VRTDataset rasterXSize="12" rasterYSize="12"><VRTRasterBand dataType="UInt16" band="1" subClass="VRTDerivedRasterBand">'
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    '<PixelFunctionCode><![CDATA[open("pwned", "w")]]></PixelFunctionCode></VRTRasterBand></VRTDataset>'
)
SERVICE = '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl></Service></GDAL_WMS>'


def trusted(folder):
    return [*scene_of(vrt("../other/secret.tif"), command=("info", "--trust-references"))(folder)]


def guide(folder):
    scene_of(vrt("../other/secret.tif"))(folder)
    return ["upscale", "scene/a.tif", "--rgb", "scene/scene.vrt", "-o", "o.tif"]


def training(folder):
    scene_of(vrt("../other/secret.tif"))(folder)
    return ["train", "scene/scene.vrt", "-o", "w.safetensors", "--network", "guided", "--steps", "1"]


def hdf5(write, command=("info",), name="x.h5", prefix="{}"):
    """Return a function that writes an HDF5 file and answers with a command on it."""

    def make(folder):
        folders(folder)
        with h5py.File(folder / "scene" / name, "w") as file:
            write(file, folder)
        return [*command, prefix.format(f"scene/{name}")]

    return make


def external(file, folder):
    place = [(str(folder / "other/secret.bin"), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("a", shape=(3, SIDE, SIDE), dtype="u2", external=place)


def external_link(file, folder):
    with h5py.File(folder / "other/o.h5", "w") as other:
        other["d"] = cube(bands=3)
    file["a"] = h5py.ExternalLink(str(folder / "other/o.h5"), "/d")


def virtual(file, folder):
    external_link(file, folder)
    del file["a"]
    layout = h5py.VirtualLayout((3, SIDE, SIDE), dtype="u2")
    layout[:] = h5py.VirtualSource(str(folder / "other/o.h5"), "d", shape=(3, SIDE, SIDE))
    file.create_virtual_dataset("a", layout)


def own_virtual(file, folder):
    with h5py.File(folder / "scene/part.h5", "w") as other:
        other["d"] = cube(bands=3)
    layout = h5py.VirtualLayout((3, SIDE, SIDE), dtype="u2")
    layout[:] = h5py.VirtualSource("part.h5", "d", shape=(3, SIDE, SIDE))
    file.create_virtual_dataset("a", layout)


def sidecar(name, write):
    def make(folder):
        folders(folder)
        write(folder / "scene" / name, folder)
        return ["info", "scene/a.tif"]

    return make


def overview_elsewhere(path, folder):
    text = f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{folder}/other/secret.tif</MDI></Metadata></PAMDataset>'
    path.write_text(text)


def overview_tag(folder):
    folders(folder)
    with rasterio.open(folder / "scene/a.tif", "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(folder / "other/secret.tif"))
    (folder / "scene/a.tif.aux.xml").unlink(missing_ok=True)
    return ["info", "scene/a.tif"]


def special(make_file, *command):
    def make(folder):
        folders(folder)
        make_file("scene/special.tif")
        return [*command]

    return make


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


def landsat(folder):
    folders(folder)
    names = "\n".join(f'FILE_NAME_BAND_{i} = "../other/secret.tif"' for i in range(1, 8))
    text = (
        'GROUP = LANDSAT_METADATA_FILE\nGROUP = PRODUCT_CONTENTS\nPROCESSING_LEVEL = "L2SP"\nDATE_ACQUIRED = 2023-06-12\n'
        f'{names}\nEND_GROUP = PRODUCT_CONTENTS\nGROUP = IMAGE_ATTRIBUTES\nSPACECRAFT_ID = "LANDSAT_8"\nSUN_ELEVATION = 50\n'
        "END_GROUP = IMAGE_ATTRIBUTES\nEND_GROUP = LANDSAT_METADATA_FILE\nEND\n"
    )  # fmt: skip
    (folder / "scene/LC08_L2SP_1_MTL.txt").write_text(text)
    return ["info", "scene/LC08_L2SP_1_MTL.txt"]


def maxar(folder):
    folders(folder)
    (folder / "scene/x.TIL").write_text(
        'BEGIN_GROUP = TILE_1\nfilename = "../other/secret.tif";\nEND_GROUP = TILE_1\nEND;\n'
    )
    imd = (
        'productLevel = "LV2A";\nbandId = "Multi";\nBEGIN_GROUP = BAND_C\nEND_GROUP = BAND_C\nBEGIN_GROUP = IMAGE_1\n'
        'satId = "WV02";\nEND_GROUP = IMAGE_1\nBEGIN_GROUP = MAP_PROJECTED_PRODUCT\nproductGSD = 2.0;\n'
        "END_GROUP = MAP_PROJECTED_PRODUCT\nEND;\n"
    )
    (folder / "scene/x.IMD").write_text(imd)
    return ["info", "scene/x.TIL"]


CASES = (
    Case("a VRT of a header that names raw values", scene_of(vrt("inner.ers"), more=header), error=OUTSIDE),
    Case("a VRT of a file next to it", upscale(vrt("a.tif")), verify=the_product_is_of("scene/a.tif")),
    Case("a VRT of a file below it", scene_of(vrt("tiles/b.tif"))),
    Case("a VRT of an absolute path in its folder", scene_of(lambda f: vrt(f"{f}/scene/a.tif", 0))),
    Case("a VRT of a sibling folder", upscale(vrt("../other/secret.tif")), OUTSIDE, verify=no_product),
    Case("a VRT of a sibling folder, trusted", trusted),
    Case("a VRT of an absolute path", scene_of(vrt("/etc/passwd", 0)), r"refers to /etc/passwd, .*--trust-references"),
    Case("a raw band of any file", scene_of(RAW.format(0, "/etc/passwd")), r"refers to /etc/passwd, "),
    Case("a raw band of a sibling folder", scene_of(RAW.format(1, "../other/secret.bin")), OUTSIDE),
    Case("a warped VRT", scene_of(WARPED), OUTSIDE),
    Case("a pansharpened VRT", scene_of(PANSHARPENED), OUTSIDE),
    Case("a VRT of a VRT of a sibling folder", scene_of(vrt("inner.vrt"), more=nested), OUTSIDE),
    Case("a VRT as the source of a VRT", scene_of(vrt(vrt("../other/secret.tif").replace("<", "&lt;"), 0)), OUTSIDE),
    Case("a VRT of a link to a sibling folder", scene_of(vrt("link.tif"), more=link), OUTSIDE),
    Case("a VRT of a pipe", scene_of(vrt("pipe.tif"), more=pipe), r"pipe\.tif is a pipe, a socket or a device"),
    Case("a VRT of the network", scene_of(vrt("/vsicurl/http://127.0.0.1:9/x", 0)), r"on the network.*Fetch it"),
    Case("a VRT of an archive of the network", scene_of(vrt("/vsizip//vsicurl/http://127.0.0.1:9/x.zip/a", 0)), "network"),
    Case("a VRT of memory", scene_of(vrt("/vsimem/x", 0)), r"in an archive or in memory"),
    Case("a VRT of a database", scene_of(vrt("PG:host=h password=hunter22", 0)), r"password=\.\.\.|PG: is a database"),
    Case("a VRT of a subdataset", scene_of(vrt('NETCDF:"../other/o.nc":v')), r"which does not exist|" + OUTSIDE),
    Case("a VRT of a missing file", scene_of(vrt("nope.tif")), r"refers to nope\.tif, which does not exist"),
    Case("a VRT with a function in Python", scene_of(PYTHON), r"VRT with code"),
    Case("a VRT that is no XML", scene_of("<VRTDataset rasterXSize="), r"damaged VRT"),
    Case("a VRT under another suffix", scene_of(vrt("../other/secret.tif"), name="x.tif"), OUTSIDE),
    Case("a service in a file", scene_of(SERVICE, name="x.tif"), r"describes a service"),
    Case("a guide that is a VRT of a sibling folder", guide, OUTSIDE, verify=no_product),
    Case("a reference of training", training, OUTSIDE),
    Case("a VRT as text", lambda f: folders(f) or ["info", vrt("/etc/passwd", 0)], r"refers to /etc/passwd"),
    Case("a connection to a database", lambda _: ["info", "PG:host=h user=u password=hunter22"], r"PG: is a database"),
    Case("standard input", lambda _: ["info", "/vsistdin/"], r"is a stream"),
    Case("a sparse file of others", lambda _: ["info", "/vsisparse/x.xml"], r"vsisparse is no plain file"),
    Case("HDF5 with values elsewhere", hdf5(external), r"refers to .*secret\.bin"),
    Case("HDF5 with a link elsewhere", hdf5(external_link), r"refers to .*o\.h5"),
    Case("HDF5 with a virtual dataset", hdf5(virtual), r"refers to .*o\.h5"),
    Case("HDF5 with a virtual dataset of its folder", hdf5(own_virtual)),
    Case("netCDF with values elsewhere", hdf5(external, name="x.nc"), r"refers to .*secret\.bin"),
    Case("MATLAB with values elsewhere", hdf5(external, ("info", "--sensor", "cave"), "x.mat"), r"refers to .*secret\.bin"),
    Case("a subdataset with values elsewhere", hdf5(external, prefix="HDF5:{}://a"), r"refers to .*secret\.bin"),
    Case("an overview that is a VRT", sidecar("a.tif.ovr", lambda p, _: p.write_text(vrt("../other/secret.tif"))), OUTSIDE),
    Case("a mask that is a link", sidecar("a.tif.msk", lambda p, f: p.symlink_to(f / "other/secret.tif")), OUTSIDE),
    Case("a mask that is a pipe", sidecar("a.tif.msk", lambda p, _: os.mkfifo(p)), r"is a pipe"),
    Case("an overview named by a sidecar", sidecar("a.tif.aux.xml", overview_elsewhere), OUTSIDE),
    Case("an overview named by a tag", overview_tag, OUTSIDE),
    Case("a band of Landsat in another folder", landsat, OUTSIDE),
    Case("a tile of Maxar in another folder", maxar, OUTSIDE),
    Case("a scene that is a pipe", special(os.mkfifo, "info", "scene/special.tif"), r"is a pipe"),
    Case("a scene that is a socket", special(unix_socket, "info", "scene/special.tif"), r"is a pipe, a socket"),
    Case("a scene that is a device", lambda _: ["info", "/dev/zero"], r"/dev/zero is a pipe, a socket or a device"),
    Case(
        "a guide that is a pipe",
        special(os.mkfifo, "upscale", "scene/a.tif", "--rgb", "scene/special.tif", "-o", "o.tif"),
        r"is a pipe",
    ),
    Case(
        "a PSF that is a pipe",
        special(os.mkfifo, "upscale", "scene/a.tif", "--psf", "scene/special.tif", "--scale", "2", "-o", "o.tif"),
        r"--psf .*no regular file",
    ),
    Case(
        "weights that are a pipe",
        special(os.mkfifo, "upscale", "scene/a.tif", "--model", "scene/special.tif", "--scale", "2", "-o", "o.tif"),
        r"is a pipe",
    ),
    Case(
        "a reference that is a pipe",
        special(os.mkfifo, "evaluate", "scene/a.tif", "--reference", "scene/special.tif"), r"is a pipe",
    ),
    Case(
        "a list that is a pipe",
        lambda f: os.mkfifo(f / "l.txt") or ["batch", "l.txt", "-o", "out", "--scale", "2"], r"l\.txt is a pipe",
    ),
    Case(
        "a table of guides that is a pipe",
        lambda f: os.mkfifo(f / "g.csv") or ["batch", "a.tif", "--rgb", "g.csv", "-o", "out"], r"--rgb g\.csv is a pipe",
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


def test_the_trust_travels_with_the_source(tmp_path):
    folders(tmp_path)
    path = tmp_path / "scene/scene.vrt"
    path.write_text(vrt("../other/secret.tif"))
    scene = open_scene(path, trust_references=True)
    # Outside the opening, as on a worker.
    values = scene.source.read(_whole(scene))
    np.testing.assert_array_equal(values, cube())


def _whole(scene):
    from dualsr_geo.raster.windows import Window

    return Window(0, SIDE, 0, SIDE)


@pytest.mark.parametrize("command", ["upscale", "batch", "evaluate", "info", "guide-check", "degrade", "train"])
def test_every_command_that_opens_scenes_has_the_option(command):
    assert "--trust-references" in CliRunner().invoke(main, [command, "--help"]).stdout


def test_a_link_to_the_scene_is_the_scene(tmp_path):
    folders(tmp_path)
    (tmp_path / "scene/scene.vrt").write_text(vrt("a.tif"))
    (tmp_path / "link.vrt").symlink_to(tmp_path / "scene/scene.vrt")
    np.testing.assert_array_equal(open_scene(tmp_path / "link.vrt").source.read(_whole(None)), cube())
    assert Path(open_scene(tmp_path / "scene/a.tif").source.uri).is_file()


def test_a_scene_of_a_batch_fails_by_itself(tmp_path):
    folders(tmp_path)
    (tmp_path / "scene/x.vrt").write_text(vrt("../other/secret.tif"))
    os.mkfifo(tmp_path / "scene/pipe.tif")
    arguments = ["batch", f"{tmp_path}/scene", "-o", f"{tmp_path}/out", "--scale", "2", "--model", "bicubic"]
    assert CliRunner().invoke(main, arguments).exit_code == 1
    summary = (tmp_path / "out/summary.csv").read_text()
    assert summary.count("--trust-references") == 1
    assert summary.count("is a pipe") == 1
    assert summary.count(",done,") == 2
