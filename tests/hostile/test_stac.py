"""STAC documents of wrong types, that name themselves, or that name files of this machine from the network."""

import contextlib
import json
import re
import string

import numpy as np
import pytest
from click.testing import CliRunner
from delivered import raster
from hostile_case import Case, check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import loopback

from dualsr_geo.batching.inputs import list_entries
from dualsr_geo.cli import main
from dualsr_geo.errors import DualSRError
from dualsr_geo.io.readers.references.local import trusting

NO_STAC = r"is no STAC item, item collection or catalog: "
ITEM = {
    "type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "links": [],
    "properties": {"datetime": "2023-06-12T10:00:00Z"}, "assets": {"ms": {"href": "scene.tif", "roles": ["data"]}},
}  # fmt: skip
CATALOG = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d", "links": []}


def batch_of(document, *options):
    """Return a function that writes a document next to a scene, and answers with a batch of it."""

    def make(folder):
        raster(folder / "scene.tif", np.random.default_rng(1).integers(500, 5000, (3, 12, 12)).astype("uint16"), 8.0)
        text = document(folder) if callable(document) else document
        (folder / "doc.json").write_text(text if isinstance(text, str) else json.dumps(text))
        return ["batch", "doc.json", "-o", "out", "--scale", "2", "--model", "bicubic", *options]

    return make


def item(**changes):
    return {**ITEM, **changes}


def asset(**changes):
    return item(assets={"ms": {**ITEM["assets"]["ms"], **changes}})


def catalog(*links):
    return {**CATALOG, "links": [{"rel": "child", "href": h} if isinstance(h, str) else h for h in links]}


def one_is_done(folder, _outcome):
    assert json.loads((folder / "out/summary.json").read_text())["counts"]["done"] == 1


def collection(document):
    return {"type": "FeatureCollection", "features": [document]}


def circle(folder):
    (folder / "b.json").write_text(json.dumps(catalog("doc.json", "b.json")))
    (folder / "item.json").write_text(json.dumps(ITEM))
    return catalog("b.json", "doc.json", {"rel": "item", "href": "item.json"})


DEEP = "[" * 100_000
CASES = (
    Case("an item", batch_of(ITEM), verify=one_is_done),
    Case("an item with unknown fields", batch_of(item(extra=[1], bbox=None)), verify=one_is_done),
    Case("catalogs that name each other", batch_of(circle), verify=one_is_done),
    Case("a catalog that names itself only", batch_of(catalog("doc.json")), r"holds no scene"),
    Case("a list", batch_of([]), NO_STAC),
    Case("a number", batch_of("1"), NO_STAC),
    Case("nothing", batch_of(""), NO_STAC),
    Case("null", batch_of("null"), NO_STAC),
    Case("no JSON", batch_of("{"), NO_STAC),
    Case("nested without end", batch_of(DEEP), r"nested too deeply|" + NO_STAC),
    Case("a type of another type", batch_of(item(type=["Feature"])), NO_STAC + "type is "),
    Case("an unknown type", batch_of(item(type="Thing")), NO_STAC + "it has the type Thing"),
    Case("an id that is a number", batch_of(item(id=3)), NO_STAC + "id is 3"),
    Case("no id", batch_of({k: v for k, v in ITEM.items() if k != "id"}), NO_STAC + "id is missing"),
    Case("assets that are a list", batch_of(item(assets=[])), NO_STAC + "assets is"),
    Case("an asset that is text", batch_of(item(assets={"ms": "scene.tif"})), NO_STAC + r"assets\.ms is"),
    Case("an href that is a number", batch_of(asset(href=7)), NO_STAC + r"assets\.ms\.href is 7"),
    Case("an href with NUL", batch_of(asset(href="a\0b.tif")), NO_STAC + r"assets\.ms\.href is .*no path or URL"),
    Case("an href with a line break", batch_of(asset(href="a\nb.tif")), NO_STAC),
    Case("an empty href", batch_of(asset(href="")), NO_STAC),
    Case("roles that are text", batch_of(asset(roles="data")), NO_STAC + r"assets\.ms\.roles is"),
    Case("a role that is a number", batch_of(asset(roles=[1])), NO_STAC),
    Case("a media type that is a list", batch_of(asset(type=[])), NO_STAC),
    Case("properties that are a list", batch_of(item(properties=[])), NO_STAC + "properties is"),
    Case("a date that is none", batch_of(item(properties={"datetime": "yesterday"})), NO_STAC),
    Case("a date that is a number", batch_of(item(properties={"datetime": 5})), NO_STAC),
    Case("links that are text", batch_of(item(links="x")), NO_STAC + "links is"),
    Case("a link that is text", batch_of(catalog() | {"links": ["x"]}), NO_STAC + "a link is"),
    Case("a link without an href", batch_of(catalog() | {"links": [{"rel": "item"}]}), NO_STAC),
    Case("features that are an object", batch_of({"type": "FeatureCollection", "features": {}}), NO_STAC + "features is"),
    Case("a feature that is null", batch_of(collection(None)), NO_STAC),
    Case("a feature of wrong types", batch_of(collection(asset(href=1))), NO_STAC),
    Case("a document that is a folder", lambda f: (f / "d.json").mkdir() or ["batch", "d.json", "-o", "out"], r"holds no scene"),
    Case("a version that is a list", batch_of(item(stac_version=[])), NO_STAC),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


def reasons(arguments):
    result = CliRunner().invoke(main, [*arguments, "--json", "--scale", "2", "--model", "bicubic"])
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return [s.get("reason", "") for s in json.loads(result.stdout)["scenes"]]


def test_an_address_that_is_none_fails_by_itself(tmp_path):
    (tmp_path / "i.json").write_text(json.dumps(asset(href="http://[::1/x.tif")))
    (reason,) = reasons(["batch", f"{tmp_path}/i.json", "-o", f"{tmp_path}/out"])
    assert "is no URL" in reason


def test_a_link_to_a_missing_document_fails_by_itself(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(catalog("nope.json", "http://127.0.0.1:9/x.json")))
    assert all("cannot be read" in r for r in reasons(["batch", f"{tmp_path}/c.json", "-o", f"{tmp_path}/out"]))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("stac")) as running:
        yield running


LOCAL = ("/etc/passwd", "file:///etc/passwd", "FILE://localhost/etc/passwd", "NETCDF:/etc/passwd:x", "/vsizip//etc/a.zip/b",
         "/vsimem/x", "vrt:///etc/passwd", "<VRTDataset/>")  # fmt: skip


@pytest.mark.parametrize("href", LOCAL)
def test_from_the_network_no_local_file_is_read(href, server, tmp_path):
    (server.answers().folder / "i.json").write_text(json.dumps(asset(href=href)))
    (reason,) = reasons(["batch", f"{server.url}/i.json", "-o", f"{tmp_path}/out"])
    # A path from the root is one of the server.
    assert re.search(r"names the local file .*--trust-references|^http://127\.0\.0\.1:\d+/.*no such object", reason)


@pytest.mark.parametrize("href", LOCAL[:3])
def test_from_the_network_no_local_file_is_a_guide(href, server, tmp_path):
    raster(server.folder / "scene.tif", np.full((1, 12, 12), 7, "uint16"), 8.0)
    document = asset(href=f"{server.answers().url}/scene.tif")
    document["assets"]["pan"] = {"href": href, "roles": ["data"]}
    (server.folder / "i.json").write_text(json.dumps(document))
    (reason,) = reasons(["batch", f"{server.url}/i.json", "--rgb", "pan", "--asset", "ms", "-o", f"{tmp_path}/out"])
    assert re.search(r"^http://127\.0\.0\.1:\d+/(pan|etc/passwd): there is no such object", reason)


def test_from_the_network_no_local_document_is_read(server, tmp_path):
    (tmp_path / "item.json").write_text(json.dumps(ITEM))
    (server.answers().folder / "c.json").write_text(
        json.dumps(catalog({"rel": "item", "href": f"{tmp_path}/item.json"}))
    )
    (reason,) = reasons(["batch", f"{server.url}/c.json", "-o", f"{tmp_path}/out"])
    assert "names the local document" in reason
    with trusting(True):
        (entry,) = list_entries([f"{server.url}/c.json"])
    assert entry.path.endswith("scene.tif")


def test_a_dead_server_of_documents(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    case = Case(
        "dead", lambda _: ["batch", f"{server.answers(dead=True).url}/i.json", "-o", "out"], r"does not answer in \d+ s"
    )
    check(case, tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["href", "rel", "type", "id"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=st.sampled_from([ITEM, catalog("x.json"), collection(ITEM)]), data=st.data())
def test_any_value_in_any_place_is_one_line(document, data, tmp_path):
    changed = json.loads(json.dumps(document))
    place = changed
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key][0] if isinstance(place[key], list) else place[key]
    (tmp_path / "d.json").write_text(json.dumps(changed))
    entries = []
    with contextlib.suppress(DualSRError):
        entries = list_entries([str(tmp_path / "d.json")])
    assert all(isinstance(e.path, str) and "\n" not in e.error for e in entries)
