"""The scenes of SRC: each once, in order, and a special file is never opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pystac
import pytest

from dualsr_geo.batching.inputs import list_entries
from dualsr_geo.errors import InputError, OptionError

WHEN = "2024-05-01T10:00:00Z"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name in (
        "b.tif",
        "a.tif",
        "deep/er/c.img",
        "deep/a.tif",
        "deep/envi",
        "notes.doc",
        "b.tif.aux.xml",
        "deep/x.dat",
    ):
        place = tmp_path / "archive" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (tmp_path / "archive/deep/envi.hdr").touch()
    return tmp_path / "archive"


def paths(entries, root) -> list[str]:
    return [os.path.relpath(e.path, root) for e in entries]


def test_a_folder_is_searched_in_order(archive):
    entries = list_entries([str(archive)])
    assert paths(entries, archive) == ["a.tif", "b.tif", "deep/a.tif", "deep/envi", "deep/er/c.img"]
    assert [(e.folder, e.stem) for e in entries] == [
        ("", "a"),
        ("", "b"),
        ("deep", "a"),
        ("deep", "envi"),
        ("deep/er", "c"),
    ]
    assert all(e.listed and not e.error for e in entries)


def test_a_scene_of_several_sources_is_listed_once(archive, monkeypatch):
    monkeypatch.chdir(archive)
    entries = list_entries(["b.tif", "./b.tif", str(archive), "*.tif"])
    assert paths(entries, archive)[0] == "b.tif"
    assert len({e.key for e in entries}) == len(entries) == 5
    assert not entries[0].listed


def test_a_glob_keeps_the_folders_below_its_fixed_part(archive):
    entries = list_entries([str(archive / "*/*.tif"), str(archive / "**" / "*.img")])
    assert paths(entries, archive) == ["deep/a.tif", "deep/er/c.img"]
    assert [e.folder for e in entries] == ["deep", "deep/er"]


def test_circular_links_are_followed_once(archive):
    (archive / "deep/up").symlink_to(archive)
    (archive / "self.tif").symlink_to("self.tif")
    entries = list_entries([str(archive)])
    assert paths(entries, archive) == ["a.tif", "b.tif", "deep/a.tif", "deep/envi", "deep/er/c.img", "self.tif"]


def test_a_list_names_scenes_and_folders(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = archive / "with  space and ü.tif"
    odd.touch()
    listing = tmp_path / "list.txt"
    listing.write_text(f"archive/b.tif\n\n{odd}\r\narchive/deep\nhttps://example.com/x/scene.tif?sig=1\n")
    entries = list_entries([str(listing)])
    assert paths(entries[:2], archive) == ["b.tif", odd.name]
    assert paths(entries[2:5], archive) == ["deep/a.tif", "deep/envi", "deep/er/c.img"]
    assert [e.folder for e in entries[:5]] == ["archive", "", "", "", "er"]
    url = entries[5]
    assert (url.stem, url.key, url.path.endswith("?sig=1")) == ("scene", "https://example.com/x/scene.tif", True)


@pytest.mark.parametrize(
    ("source", "stem", "key"),
    [
        ("NETCDF:/data/cube.nc:radiance", "cube", "NETCDF:/data/cube.nc:radiance"),
        ("/vsizip/a.zip/deep/b.tif", "b", "/vsizip/a.zip/deep/b.tif"),
        ("s3://bucket/a/c.zarr/", "c", "s3://bucket/a/c.zarr/"),
        ("https://me:secret@example.com/d.tif?sig=secret", "d", "https://example.com/d.tif"),
    ],
)
def test_names_of_gdal_and_urls_are_kept_and_their_credentials_are_hidden(source, stem, key):
    (entries,) = list_entries([source])
    assert (entries.path, entries.stem, entries.key, entries.error) == (source, stem, key, "")


def test_a_file_may_have_the_name_of_a_subdataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "NETCDF:x.tif").touch()
    assert [e.path for e in list_entries(["NETCDF:x.tif"])] == [str(tmp_path / "NETCDF:x.tif")]


def test_a_product_as_delivered_and_a_zarr_group_are_one_scene(archive):
    safe, store = archive / "S2A_MSIL2A_X.SAFE", archive / "cube.zarr"
    (safe / "GRANULE").mkdir(parents=True)
    (safe / "GRANULE/B02.jp2").touch()
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    (archive / "mtl").mkdir()
    (archive / "mtl/LC08_L1TP_MTL.txt").touch()
    entries = list_entries([str(archive)])
    assert {"S2A_MSIL2A_X.SAFE", "cube.zarr", "mtl"} <= set(paths(entries, archive))
    assert not any("B02" in e.path for e in entries)
    assert [e.stem for e in list_entries([str(safe)])] == ["S2A_MSIL2A_X"]
    # Landsat's metadata are text, but no list.
    assert paths(list_entries([str(archive / "mtl/LC08_L1TP_MTL.txt")]), archive) == ["mtl/LC08_L1TP_MTL.txt"]


def test_the_output_and_work_directories_are_excluded(archive):
    for name in ("out/a_x4.tif", "deep/p_x4.tif.part/store.tif", ".hidden/a.tif"):
        (archive / name).parent.mkdir(parents=True)
        (archive / name).touch()
    assert len(list_entries([str(archive)], exclude=str(archive / "out"))) == 5
    assert len(list_entries([str(archive / "*")], exclude=str(archive / "out"))) == 5
    with pytest.raises(OptionError, match=r"is also the folder of the scenes.*Give another"):
        list_entries([str(archive)], exclude=str(archive))


def test_a_pipe_is_never_opened(archive):
    os.mkfifo(archive / "pipe.tif")
    (message,) = [e.error for e in list_entries([str(archive)]) if e.stem == "pipe"]
    assert "is a pipe, a socket or a device" in message


@pytest.mark.parametrize("source", ["empty", "*.nothing"])
def test_a_source_without_scenes_is_an_error(tmp_path, monkeypatch, source):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="holds no scene"):
        list_entries([source])


def test_lists_do_not_name_lists(tmp_path):
    (tmp_path / "a.txt").write_text("b.txt\n")
    with pytest.raises(InputError, match=r"names another list, b\.txt"):
        list_entries([str(tmp_path / "a.txt")])


# ---- STAC --------------------------------------------------------------------------------


def item(name: str, **assets: str | tuple[str, list[str]]) -> pystac.Item:
    stac_item = pystac.Item(name, None, None, pystac.utils.str_to_datetime(WHEN), {})
    for key, value in assets.items():
        href, roles = (value, None) if isinstance(value, str) else value
        stac_item.add_asset(key, pystac.Asset(href, roles=roles))
    return stac_item


def test_hrefs_of_a_collection_start_at_its_folder(tmp_path):
    items = [
        item("one", ms="a/one.tif", pan="a/one_pan.tif", look=("one.png", ["thumbnail"])),
        item("../two", ms="https://example.com/two.tif"),
        item("three", ms="x.tif", other="y.tif"),
    ]
    place = tmp_path / "items.json"
    place.write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
    one, two, three = list_entries([str(place)], guides=["pan"])
    assert (one.path, one.stem, one.acquired) == (str(tmp_path / "a/one.tif"), "one", WHEN)
    assert one.assets["pan"] == str(tmp_path / "a/one_pan.tif")
    assert two.path == "https://example.com/two.tif"
    assert "/" not in two.stem
    assert "has 2 assets that may be the scene; its assets are ms, other. Give --asset KEY" in three.error
    assert [e.error[:33] for e in list_entries([str(place)], asset="other")] == [
        "The STAC item one has no asset `o", "The STAC item ../two has no asset", "",
    ]  # fmt: skip


def test_a_catalog_is_searched_and_a_broken_item_is_named(tmp_path):
    catalog = pystac.Catalog("all", "all")
    child = pystac.Catalog("child", "child")
    catalog.add_child(child)
    child.add_item(item("deep", ms="/data/deep.tif"))
    catalog.add_item(item("gone", ms="/data/gone.tif"))
    catalog.normalize_and_save(str(tmp_path), pystac.CatalogType.SELF_CONTAINED)
    (tmp_path / "gone/gone.json").write_text("{")
    entries = {e.stem: e for e in list_entries([str(tmp_path / "catalog.json")])}
    assert entries["deep"].path == "/data/deep.tif"
    assert "cannot be read" in entries["gone"].error
    single = list_entries([str(tmp_path / "child/deep/deep.json")])
    assert [e.path for e in single] == ["/data/deep.tif"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "Thing"}', '{"type": "FeatureCollection"}'])
def test_an_invalid_stac_document_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="is no STAC item, item collection or catalog|holds no scene"):
        list_entries([str(tmp_path / "x.json")])
