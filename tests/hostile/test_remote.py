"""Servers that play dead, slow, redirecting, lying, and scenes on them that point to this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from delivered import raster
from hostile_case import LIMIT_SECONDS, check, run
from hostile_case import Case as HostileCase
from loopback import loopback

SIDE = 12
# Of one opening of a good file: its sidecars are sought once.
FEW = 30


def vrt(source, relative):
    return (
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of a scene, a truncated one, and VRTs."""
    folder = tmp_path_factory.mktemp("served")
    cube = np.random.default_rng(1).integers(500, 5000, (3, SIDE, SIDE)).astype("uint16")
    raster(folder / "scene.tif", cube, 8.0)
    raster(folder / "sub/b.tif", cube[:1], 8.0)
    raster(folder / "secret/local.tif", cube[:1], 8.0)
    (folder / "local.vrt").write_text(vrt(f"{folder}/secret/local.tif", 0))
    (folder / "passwd.vrt").write_text(
        vrt("/etc/passwd", 0).replace('band="1"', 'band="1" subClass="VRTRawRasterBand"')
    )
    (folder / "climb.vrt").write_text(vrt("../../../../../../etc/hostname", 1))
    (folder / "other.vrt").write_text(vrt("/vsicurl/http://127.0.0.2:9/x.tif", 0))
    (folder / "own.vrt").write_text(vrt("sub/b.tif", 1))
    (folder / "nested.vrt").write_text(vrt("local.vrt", 1))
    (folder / "masked.tif.msk").write_bytes(b"")
    with loopback(folder) as running:
        (folder / "same.vrt").write_text(vrt(f"/vsicurl/{running.url}/sub/b.tif", 0))
        yield running


@pytest.fixture
def patience(monkeypatch):
    """Limits of time that a test has the patience for."""
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "2")
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "2")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")


@dataclass(frozen=True)
class Remote:
    """What is opened on a server that answers in some manner, and the line or None for success."""

    name: str
    path: str
    error: str | None
    manner: dict
    requests: int = 4 * FEW


CASES = (
    Remote("dead", "{}/scene.tif", r"does not answer in \d+ s", {"dead": True}),
    Remote("a dead server of Zarr", "{}/a.zarr", r"does not answer in \d+ s", {"dead": True}),
    Remote("a byte a second", "{}/scene.tif", r"does not answer in \d+ s", {"drip": True}),
    Remote("slow, but not too slow", "{}/scene.tif?a=1", None, {"wait": 0.3}),
    Remote("more announced than sent", "{}/scene.tif", r"announces 99999 bytes and sends", {"length": 99999, "ranges": False}),
    Remote("more announced than sent, held", "{}/scene.tif", r"does not answer", {"length": 9999, "ranges": False, "hold": True}),
    Remote("a total that is not true", "{}/scene.tif?a=1", None, {"total": 10**12}),
    Remote("no ranges", "{}/scene.tif", None, {"ranges": False}),
    Remote("an error", "{}/scene.tif", r"the store failed", {"status": 500}),
    Remote("busy", "{}/scene.tif", r"slow down", {"status": 503}),
    Remote("forbidden", "{}/scene.tif", r"access is denied", {"status": 403}),
    Remote("missing", "{}/nope.tif", r"no such object", {}),
    Remote("a page for every name", "{}/x.tif", r".", {"same": ".manner"}),
    Remote("redirecting to a local file", "{}/scene.tif", r".", {"redirect": "file:///etc/passwd"}),
    Remote("redirecting in a circle", "{}/scene.tif", r".", {"redirect": "/scene.tif"}),
    Remote("redirecting to a closed port", "{}/scene.tif", r".", {"redirect": "http://127.0.0.1:9/there/scene.tif"}),
    Remote("redirecting to itself elsewhere", "{}/scene.tif", None, {"redirect": "/there/scene.tif"}),
    Remote("the scene under every name", "{}/scene.tif", None, {"same": "scene.tif"}),
    Remote("the scene under every name, fragment", "{}/scene.tif#token", None, {"same": "scene.tif"}),
    Remote("a fragment", "{}/scene.tif#token", None, {}),
    Remote("a query", "{}/scene.tif?sig=1", None, {}),
    Remote("GDAL's settings", "/vsicurl?url={}/scene.tif", None, {"same": "scene.tif"}),
    Remote("GDAL's settings with others", "/vsicurl?max_retry=1&url={}/scene.tif", None, {"same": "scene.tif"}),
    Remote("GDAL's streams", "/vsicurl_streaming/{}/scene.tif", None, {"same": "scene.tif"}),
    Remote("upper case", "HTTP{}/scene.tif", None, {}),
    Remote("a VRT of a local file", "{}/local.vrt", r"refers to .*local\.tif, .*--trust-references", {}),
    Remote("a VRT of the bytes of a local file", "{}/passwd.vrt", r"refers to /etc/passwd, ", {}),
    Remote("a VRT that climbs out of its host", "{}/climb.vrt", r"refers to .*, which is (outside|no file of) its host", {}),
    Remote("a VRT of another host", "{}/other.vrt", r"of another host", {}),
    Remote("a VRT of a VRT of a local file", "{}/nested.vrt", r"local\.vrt refers to .*local\.tif", {}),
    Remote("a VRT of its host", "{}/own.vrt", None, {}),
    Remote("a VRT of its host by URL", "{}/same.vrt", None, {}),
    Remote("an address that is none", "http://[::1/x", r"is no URL", {}),
    Remote("a port that is none", "http://host:port/x.tif", r"is no URL", {}),
    Remote("a file of another host", "file://host/x.tif", r"is a file of the host host", {}),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_answer(case, server, tmp_path, patience):
    location = _location(case.path, server.answers(**case.manner).url)
    before = server.requests
    check(HostileCase(case.name, lambda _: ["info", location], case.error), tmp_path)
    assert server.requests - before <= case.requests


def _location(path, url):
    return (
        f"HTTP{url.removeprefix('http')}{path.removeprefix('HTTP{}')}" if path.startswith("HTTP") else path.format(url)
    )


def test_a_run_asks_a_few_dozen_times(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for manner in ({}, {"same": "scene.tif"}):
        url, before = server.answers(**manner).url, server.requests
        command = ["upscale", f"{url}/scene.tif", "--scale", "2", "--model", "bicubic", "-o", "o.tif", "--overwrite"]
        assert run(command).code == 0
        assert server.requests - before < 60
    with rasterio.open("o.tif") as product:
        assert product.shape == (2 * SIDE, 2 * SIDE)


def test_a_mask_next_to_a_file_is_read(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cube = np.full((1, SIDE, SIDE), 700, "uint16")
    raster(server.folder / "m.tif", cube, 8.0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(server.folder / "m.tif", "r+") as file:
        mask = np.full((SIDE, SIDE), 255, "uint8")
        mask[:3] = 0
        file.write_mask(mask)
    assert Path(f"{server.folder}/m.tif.msk").exists()
    from dualsr_geo.io.scenes import open_scene
    from dualsr_geo.raster.windows import Window

    values = open_scene(f"{server.answers().url}/m.tif").source.read(Window(0, SIDE, 0, SIDE))
    assert np.isnan(values[:, :3]).all()
    assert np.isfinite(values[:, 3:]).all()


@pytest.mark.hostile
def test_a_dead_server_ends_within_a_minute_without_any_setting(server, tmp_path):
    assert not [n for n in os.environ if n.startswith("GDAL_HTTP")]
    case = HostileCase(
        "dead", lambda _: ["info", f"{server.answers(dead=True).url}/scene.tif"], r"does not answer in 30 s"
    )
    assert LIMIT_SECONDS <= 60
    check(case, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GDAL_HTTP_MAX_RETRY", "abc"),
        ("GDAL_HTTP_TIMEOUT", "-1"),
        ("GDAL_HTTP_RETRY_DELAY", "nan"),
        ("GDAL_HTTP_MAX_RETRY", "1e9"),
    ],
)
def test_a_setting_that_is_no_number(name, value, server, tmp_path, monkeypatch):
    monkeypatch.setenv(name, value)
    for location in (f"{server.answers().url}/scene.tif", "s3://bucket/x.tif", "s3://bucket/x.zarr"):
        check(
            HostileCase("setting", lambda _, where=location: ["info", where], rf"{name}={value} in the environment"),
            tmp_path,
        )
