"""Products in archives and in stores: the same scene as from the folder, and nothing of a crafted archive."""

import contextlib
import io
import os
import tarfile
import threading
import time
import warnings
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import delivered
import numpy as np
import packed
import pytest

from dualsr_geo.batching.guide_matching import guide_rule
from dualsr_geo.batching.run import run
from dualsr_geo.batching.tasks import Batch
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import DualSRWarning, InputError
from dualsr_geo.io.products.registry import is_delivery
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.io.storage.folders import archives
from dualsr_geo.io.storage.folders.opening import product_path
from dualsr_geo.raster.windows import Window

MAKE = {
    "sentinel2": delivered.sentinel2,
    "landsat": delivered.landsat,
    "enmap": delivered.enmap,
    "maxar": delivered.maxar,
}


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def require_same(one, other):
    assert one.scene.bands == other.scene.bands
    assert one.scene.packing == other.scene.packing
    assert (one.sensor, one.level, one.notes) == (other.sensor, other.level, other.notes)
    for a, b in zip((one.scene, *one.guides), (other.scene, *other.guides), strict=True):
        assert a.geobox == b.geobox
        assert a.name == b.name
        np.testing.assert_array_equal(whole(a), whole(b))


@pytest.mark.filterwarnings("ignore:.*compressed as a whole")
@pytest.mark.parametrize("how", packed.PACKED)
@pytest.mark.parametrize("kind", MAKE)
def test_an_archive_opens_as_its_folder(kind, how, tmp_path):
    folder = MAKE[kind](tmp_path / "product")
    archive = packed.PACKED[how](folder, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert is_delivery(str(archive))
    require_same(open_delivered(archive), open_delivered(folder))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_product_in_an_archive_is_the_same_bytes_and_is_written_next_to_it(tmp_path):
    folder = delivered.landsat(tmp_path)
    archive = packed.tar(folder, tmp_path / f"{folder.name}.tar")
    upscale(folder, tmp_path / "folder.tif", model="regression", max_memory="2GB")
    result = upscale(archive, model="regression", max_memory="2GB")
    assert result["output"] == str(tmp_path / f"{folder.name}_x2.tif")
    with contextlib.ExitStack() as stack:
        import rasterio

        one, other = (stack.enter_context(rasterio.open(p)) for p in (tmp_path / "folder.tif", result["output"]))
        np.testing.assert_array_equal(one.read(), other.read())


def test_a_replaced_archive_is_noticed(tmp_path):
    folder = delivered.landsat(tmp_path)
    archive = packed.tar(folder, tmp_path / "a.tar")
    source = open_delivered(archive).scene.source
    before = source.fingerprint()
    os.utime(archive, ns=(1, 1))
    assert source.fingerprint() != before


def test_a_file_in_an_archive_opens_by_its_name(tmp_path):
    folder = delivered.landsat(tmp_path)
    archive = packed.tar(folder, tmp_path / "a.tar")
    name = f"{folder.name}_B4.TIF"
    np.testing.assert_array_equal(whole(open_scene(archive / folder.name / name)), whole(open_scene(folder / name)))
    with pytest.raises(InputError, match="does not exist"):
        open_scene(archive / "none.tif")


def test_a_tar_that_is_compressed_as_a_whole_is_warned_of(tmp_path):
    folder = delivered.landsat(tmp_path)
    archive = packed.tar(folder, tmp_path / "a.tar.gz", mode="w:gz")
    with pytest.warns(DualSRWarning, match=r"a\.tar\.gz is compressed as a whole.*gunzip"):
        open_delivered(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_delivery(str(archive))


# ---- crafted archives --------------------------------------------------------------------


def crafted(path, *members, form=tarfile.PAX_FORMAT):
    """A tar of (name, content) and of TarInfo."""
    with tarfile.open(path, "w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../LC08_MTL.txt", b"")], r"holds \.\./LC08_MTL\.txt, which is a place outside"),
        ([("/etc/LC08_MTL.txt", b"")], r"holds /etc/LC08_MTL\.txt, which is a place outside"),
        ([("a/../../LC08_MTL.txt", b"")], "which is a place outside"),
        ([link("LC08_B1.TIF", "/etc/passwd")], "holds the link"),
        ([link("LC08_B1.TIF", "/etc/passwd", tarfile.LNKTYPE)], "holds the link"),
        ([link("LC08_B1.TIF", "", tarfile.FIFOTYPE)], "holds the special or sparse file"),
        ([link("LC08_B1.TIF", "", tarfile.CHRTYPE)], "holds the special or sparse file"),
        ([("LC08_MTL.txt", b"a"), ("./LC08_MTL.txt", b"b")], "twice"),
        ([("a", b""), ("a/LC08_MTL.txt", b"b")], "as a file and as a folder"),
    ],
)
def test_names_and_kinds_that_lead_elsewhere_are_refused(members, message, tmp_path):
    path = crafted(tmp_path / "LC08_a.tar", *members)
    with pytest.raises(InputError, match=message) as error:
        open_delivered(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"), [("../a_MTL.txt", "outside"), ("/a_MTL.txt", "outside"), ("..\\a", "outside")]
)
def test_names_in_a_zip_that_lead_elsewhere_are_refused(name, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "LC08_a.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match=message):
        open_delivered(tmp_path / "LC08_a.zip")


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("LC08_B1.TIF")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "LC08_a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="holds the link"):
        open_delivered(tmp_path / "LC08_a.zip")


def test_metadata_that_name_a_file_outside_of_the_archive_are_refused(tmp_path):
    folder = delivered.landsat(tmp_path)
    document = next(folder.glob("*_MTL.txt"))
    for name in ("../out.TIF", "/out.TIF"):
        text = document.read_text().replace(f"{folder.name}_B4.TIF", name)
        document.write_text(text)
        archive = packed.tar(folder, tmp_path / "a.tar")
        with pytest.raises(InputError, match="not in its folder"):
            open_delivered(archive)
        document.write_text(text.replace(name, f"{folder.name}_B4.TIF"))


def test_many_members_and_large_metadata_are_refused(tmp_path, monkeypatch):
    folder = delivered.landsat(tmp_path)
    with zipfile.ZipFile(tmp_path / "LC08_large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LC08_a_MTL.txt", b"\0" * (archives.MAX_TEXT_BYTES + 1))
    with pytest.raises(InputError, match="more than 64 MiB, too much for metadata"):
        open_delivered(tmp_path / "LC08_large.zip")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    for archive in (packed.tar(folder, tmp_path / "few.tar"), packed.zipped(folder, tmp_path / "few.zip")):
        with pytest.raises(InputError, match="more than 3 files"):
            open_delivered(archive)


def test_a_compressed_tar_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_DECOMPRESSED_BYTES", 1 << 20)
    source = tmp_path / "zeros"
    source.write_bytes(b"\0" * (8 << 20))
    with tarfile.open(tmp_path / "LC08_a.tar.gz", "w:gz") as archive:
        archive.add(source, "LC08_a_B1.TIF")
        archive.add(source, "LC08_a_B2.TIF")
    with pytest.raises(InputError, match="where far less is expected"):
        open_delivered(tmp_path / "LC08_a.tar.gz")


def test_a_tar_header_that_announces_gigabytes_is_refused_at_once(tmp_path):
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 3 << 30
    (tmp_path / "LC08_a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 1024)
    began = time.process_time()
    with pytest.raises(InputError, match="LC08_a.tar"):
        open_delivered(tmp_path / "LC08_a.tar")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["LC08_a.tar", "LC08_a.tar.gz", "LC08_a.tgz", "LC08_a.zip"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x1f\x8b\x08 nothing", b"text " * 999])
def test_damaged_archives_are_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        open_delivered(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*compressed as a whole")
@pytest.mark.parametrize("how", ["tar", "zip", "tar.gz"])
def test_truncated_archives_are_one_line(how, tmp_path):
    folder = delivered.landsat(tmp_path / "product")
    archive = packed.PACKED[how](folder, tmp_path)
    content = archive.read_bytes()
    for part in (0.2, 0.5, 0.9):
        archive.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(InputError) as error:
            open_delivered(archive)
        assert "\n" not in str(error.value)


def test_an_archive_in_an_archive_is_not_opened(tmp_path):
    folder = delivered.landsat(tmp_path)
    inner = packed.tar(folder, tmp_path / "LC08_inner.tar")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(inner, "LC08_inner.tar")
    with pytest.raises(InputError):
        open_delivered(tmp_path / "outer.zip")
    with pytest.raises(InputError):
        open_delivered(tmp_path / "outer.zip" / "LC08_inner.tar")


def test_names_in_other_encodings_do_not_hide_a_product(tmp_path):
    folder = delivered.landsat(tmp_path / "product")
    with tarfile.open(tmp_path / "LC08_a.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.add(folder, folder.name)
        info = tarfile.TarInfo(f"{folder.name}/Größe\n.txt")
        archive.addfile(info)
    require_same(open_delivered(tmp_path / "LC08_a.tar"), open_delivered(folder))


def test_an_overview_outside_of_the_archive_is_refused(tmp_path):
    folder = delivered.enmap(tmp_path / "product")
    cube = next(folder.glob("*.TIF"))
    other = delivered.raster(tmp_path / "elsewhere.tif", delivered.counts(3, (12, 10, 10)), 30)
    cube.with_name(f"{cube.name}.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{other}</MDI></Metadata></PAMDataset>'
    )
    with pytest.raises(InputError, match=r"elsewhere\.tif, which is not in the archive"):
        open_delivered(packed.zipped(folder, tmp_path / "a.zip"))


# ---- stores ------------------------------------------------------------------------------


def test_a_url_of_a_raster_is_no_folder():
    for url in (
        "s3://bucket/a/scene.tif",
        "https://host/a/scene.jp2?sig=x",
        "https://host/image",
        "gs://bucket/a.zarr",
    ):
        assert not hasattr(product_path(url), "tree")


def test_an_archive_in_a_store_is_to_be_fetched():
    for url in ("s3://bucket/LC08_a.tar", "https://host/S2A.SAFE.zip?sig=verysecret", "gs://bucket/a.tgz"):
        with pytest.raises(InputError, match=r"is an archive, which is read in place on disk only\. Fetch it") as error:
            product_path(url)
        assert "verysecret" not in str(error.value)


# ---- archives of something else, and batches ---------------------------------------------


def test_an_archive_of_one_raster_is_that_raster(tmp_path):
    cube = delivered.counts(1, (3, 20, 24))
    delivered.raster(tmp_path / "a" / "scene.tif", cube, 10)
    for archive in (packed.zipped(tmp_path / "a", tmp_path / "a.zip"), packed.tar(tmp_path / "a", tmp_path / "a.tar")):
        np.testing.assert_array_equal(whole(open_scene(archive)), cube)


def test_an_archive_of_no_known_product_lists_its_rasters(tmp_path):
    for name in ("ndvi.tif", "dem.tif"):
        delivered.raster(tmp_path / "a" / name, delivered.counts(1, (1, 20, 24)), 10)
    with pytest.raises(
        InputError, match=r"a\.zip holds no product that is known\. It holds dem\.tif, ndvi\.tif\. Give one"
    ):
        open_scene(packed.zipped(tmp_path / "a", tmp_path / "a.zip"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"empty\.zip holds no product that is known, and no raster"):
        open_scene(packed.zipped(tmp_path / "empty", tmp_path / "empty.zip"))


def test_a_batch_of_a_folder_of_archives(tmp_path):
    source = tmp_path / "archive"
    source.mkdir()
    folder = delivered.landsat(tmp_path)
    packed.tar(folder, source / "one.tar")
    packed.zipped(folder, source / "two.SAFE.zip")
    (source / "damaged.tar").write_bytes(b"text " * 999)
    with zipfile.ZipFile(source / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    batch = Batch(tmp_path / "out", guide_rule([]), Options(model="regression", jobs=1, max_memory=2 << 30))
    records = {
        os.path.basename(r.scene): (r.status, os.path.basename(r.product or "")) for r in run([str(source)], batch)
    }
    assert records["one.tar"] == ("done", "one_x2.tif")
    assert records["two.SAFE.zip"] == ("done", "two_x2.tif")
    assert records["damaged.tar"][0] == "failed"
    assert len(records) == 3


def test_a_folder_on_the_web_is_read_by_the_list_of_its_server(tmp_path):
    folder = delivered.landsat(tmp_path / "web")
    listing = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), listing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        path = product_path(f"http://127.0.0.1:{server.server_address[1]}/{folder.name}/?token=verysecret")
        assert path.is_dir()
        assert [p.name for p in path.iterdir()] == sorted(p.name for p in folder.iterdir())
        document = next(path.glob("*_MTL.txt"))
        assert document.read_bytes() == next(folder.glob("*_MTL.txt")).read_bytes()
        assert (path / f"{folder.name}_B4.TIF").is_file()
        assert not (path / f"{folder.name}_B44.TIF").is_file()
        assert os.fspath(path / "a b.tif").endswith("/a%20b.tif?token=verysecret")
        assert "secret" not in str(document)
        server.shutdown()
        thread.join()
