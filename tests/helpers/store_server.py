"""A moto S3 server on loopback, a proxy before it that fails on request, and a bucket."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

SECRET = "wJalrXUtnFEMIsecret"
KEY = "AKIAIOSFODNN7EXAMPLE"
HERE = Path(__file__).parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def started(command, port):
    """Start a server and wait until it listens; rasterio holds the GIL while it opens, so it is its own process."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return server
        time.sleep(0.1)
    server.kill()
    pytest.fail(f"{command} does not listen on {port}")
    return None


class Bucket:
    """A bucket of the server, and the faults on the way to it."""

    name = "scenes"

    def __init__(self, client, proxy):
        self.client, self.proxy = client, proxy

    def fail(self, **plan):
        self._control(json.dumps(plan).encode())

    def count(self, what):
        return self._control(None)[what]

    def _control(self, body):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.proxy}/-/faults", body, timeout=30) as response:
            return json.load(response)

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [o["Key"] for page in pages for o in page.get("Contents", [])]

    def get(self, key):
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key, path):
        self.client.upload_file(str(path), self.name, key, ExtraArgs={"ACL": "public-read"})

    def put_folder(self, prefix, folder):
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path)

    def group(self, prefix):
        return {k.removeprefix(f"{prefix}/"): self.get(k) for k in self.keys(f"{prefix}/")}


def run_servers():
    """Yield the ports of the server and of the proxy."""
    pytest.importorskip("moto", reason="moto is not installed: pip install 'dualsr-geo[dev]'")
    port, proxy = free_port(), free_port()
    moto = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    running = [
        started([sys.executable, "-c", moto], port),
        started([sys.executable, str(HERE / "faulty_store.py"), str(proxy), str(port)], proxy),
    ]
    yield port, proxy
    for server in running:
        server.kill()
        server.wait()


def make_bucket(servers, inputs, monkeypatch):
    """Yield a bucket with a scene and its guide, that the environment gives access to."""
    import boto3

    port, proxy = servers
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    patience = {"GDAL_HTTP_RETRY_DELAY": "0.05", "GDAL_HTTP_TIMEOUT": "2", "GDAL_HTTP_MAX_RETRY": "4"}
    ours = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**patience, **ours, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy}"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket=Bucket.name)
    bucket = Bucket(client, proxy)
    bucket.fail()
    bucket.put("in/scene.tif", inputs[0])
    bucket.put("in/rgb.tif", inputs[1])
    yield bucket
    for key in bucket.keys():  # noqa: SIM118  # a method of ours
        client.delete_object(Bucket=Bucket.name, Key=key)
