"""Servers that play dead, slow, redirecting, lying, and scenes on them that point to this machine."""

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import rasterio
from delivered import raster
from hostile_case import LIMIT_SECONDS, Case, check, run
from loopback import loopback

from dualsr_geo.io.describe import describe

SIDE = 12
# Of one opening of a good file: its sidecars are sought once.
FEW = 30


def vrt(source, relative):
    return (
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )


@cache
def running():
    """A server of a scene, a truncated one, and VRTs, until the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="served-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
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
    served = ExitStack()
    atexit.register(served.close)
    server = served.enter_context(loopback(folder))
    (folder / "same.vrt").write_text(vrt(f"/vsicurl/{server.url}/sub/b.tif", 0))
    return server


@pytest.fixture
def server():
    return running().answers()


# Limits of time that a test has the patience for.
PATIENCE = {"GDAL_HTTP_TIMEOUT": "2", "GDAL_HTTP_LOW_SPEED_TIME": "2", "GDAL_HTTP_MAX_RETRY": "1"}


def remote(name, path, error, manner, requests=4 * FEW):
    """Return the case of a location on a server that answers in some manner, few requests in all."""
    before = []

    def make(_folder):
        server = running().answers(**manner)
        before.append(server.requests)
        location = _location(path, server.url)

        def opened():
            with mock.patch.dict(os.environ, PATIENCE):
                return describe(location)

        return opened

    def verify(_folder, _outcome):
        assert running().requests - before[-1] <= requests

    return Case(name, make, error, verify=verify)


CASES = (
    remote("dead", "{}/scene.tif", r"does not answer in \d+ s", {"dead": True}),
    remote("a dead server of Zarr", "{}/a.zarr", r"does not answer in \d+ s", {"dead": True}),
    remote("a byte a second", "{}/scene.tif", r"does not answer in \d+ s", {"drip": True}),
    remote("slow, but not too slow", "{}/scene.tif?a=1", None, {"wait": 0.3}),
    remote("more announced than sent", "{}/scene.tif", r"announces 99999 bytes and sends", {"length": 99999, "ranges": False}),
    remote("more announced than sent, held", "{}/scene.tif", r"does not answer", {"length": 9999, "ranges": False, "hold": True}),
    remote("a total that is not true", "{}/scene.tif?a=1", None, {"total": 10**12}),
    remote("no ranges", "{}/scene.tif", None, {"ranges": False}),
    remote("an error", "{}/scene.tif", r"the store failed", {"status": 500}),
    remote("busy", "{}/scene.tif", r"slow down", {"status": 503}),
    remote("forbidden", "{}/scene.tif", r"access is denied", {"status": 403}),
    remote("missing", "{}/nope.tif", r"no such object", {}),
    remote("a page for every name", "{}/x.tif", r".", {"same": ".manner"}),
    remote("redirecting to a local file", "{}/scene.tif", r".", {"redirect": "file:///etc/passwd"}),
    remote("redirecting in a circle", "{}/scene.tif", r".", {"redirect": "/scene.tif"}),
    remote("redirecting to a closed port", "{}/scene.tif", r".", {"redirect": "http://127.0.0.1:9/there/scene.tif"}),
    remote("redirecting to itself elsewhere", "{}/scene.tif", None, {"redirect": "/there/scene.tif"}),
    remote("the scene under every name", "{}/scene.tif", None, {"same": "scene.tif"}),
    remote("the scene under every name, fragment", "{}/scene.tif#token", None, {"same": "scene.tif"}),
    remote("a fragment", "{}/scene.tif#token", None, {}),
    remote("a query", "{}/scene.tif?sig=1", None, {}),
    remote("GDAL's settings", "/vsicurl?url={}/scene.tif", None, {"same": "scene.tif"}),
    remote("GDAL's settings with others", "/vsicurl?max_retry=1&url={}/scene.tif", None, {"same": "scene.tif"}),
    remote("GDAL's streams", "/vsicurl_streaming/{}/scene.tif", None, {"same": "scene.tif"}),
    remote("upper case", "HTTP{}/scene.tif", None, {}),
    remote("a VRT of a local file", "{}/local.vrt", r"refers to .*local\.tif, .*--trust-references", {}),
    remote("a VRT of the bytes of a local file", "{}/passwd.vrt", r"refers to /etc/passwd, ", {}),
    remote("a VRT that climbs out of its host", "{}/climb.vrt", r"refers to .*, which is (outside|no file of) its host", {}),
    remote("a VRT of another host", "{}/other.vrt", r"of another host", {}),
    remote("a VRT of a VRT of a local file", "{}/nested.vrt", r"local\.vrt refers to .*local\.tif", {}),
    remote("a VRT of its host", "{}/own.vrt", None, {}),
    remote("a VRT of its host by URL", "{}/same.vrt", None, {}),
    remote("an address that is none", "http://[::1/x", r"is no URL", {}),
    remote("a port that is none", "http://host:port/x.tif", r"is no URL", {}),
    remote("a file of another host", "file://host/x.tif", r"is a file of the host host", {}),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


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
    case = Case("dead", lambda _: ["info", f"{server.answers(dead=True).url}/scene.tif"], r"does not answer in 30 s")
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
            Case("setting", lambda _, where=location: ["info", where], rf"{name}={value} in the environment"),
            tmp_path,
        )
