"""A web server of this machine that answers as badly as servers can; it counts its requests.

It is a process of its own: rasterio holds the lock of Python's interpreter while GDAL waits for an answer. A file
``<name>.json`` next to a file says how it is served: see `Manner`.

python loopback.py FOLDER
"""

import json
import re
import socketserver
import subprocess
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

# Of an answer that never comes.
FOR_EVER_S = 600


class Server(ThreadingHTTPServer):
    daemon_threads = True
    requests = 0

    def handle_error(self, *_):
        """Say nothing: clients that give up are the point."""


class Handler(BaseHTTPRequestHandler):
    """Serves the files of a folder, each in the manner of ``.manner`` in the folder.

    The manner is JSON: ``dead`` never answers, ``drip`` sends a byte a second, ``wait`` seconds before each answer,
    ``redirect`` to a URL, ``length`` announced instead of the right one, ``hold`` keeps the connection open after it,
    ``same`` is the file that is served under every name, ``status`` instead of 200, ``ranges`` false ignores ranges.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/-/requests":
            self.send(200, str(self.server.requests).encode())
            return
        self.server.requests += 1
        manner = json.loads((ROOT / ".manner").read_text())
        if manner.get("dead"):
            time.sleep(FOR_EVER_S)
        time.sleep(manner.get("wait", 0))
        if "redirect" in manner and not self.path.startswith("/there"):
            self.send(302, b"", {"Location": manner["redirect"]})
            return
        path = ROOT / (manner.get("same") or self.path.partition("?")[0].lstrip("/").removeprefix("there/"))
        if manner.get("status") or not path.is_file():
            self.send(manner.get("status", 404), b"no")
            return
        self.serve(path.read_bytes(), manner)

    do_HEAD = do_GET  # noqa: N815  # as http.server calls it

    def serve(self, body, manner):
        headers, status = {"Accept-Ranges": "bytes"}, 200
        part = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part and manner.get("ranges", True):
            start = int(part[1])
            if start >= len(body):
                self.send(416, b"")
                return
            end = min(int(part[2] or len(body) - 1), len(body) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{manner.get('total', len(body))}"
            body, status = body[start : end + 1], 206
        if "length" in manner:
            headers["Content-Length"] = str(manner["length"])
        self.send(status, body, headers, drip=manner.get("drip", False))
        if manner.get("hold"):
            time.sleep(FOR_EVER_S)
        self.close_connection = "length" in manner

    def send(self, status, body, headers=None, *, drip=False):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for part in [body[i : i + 1] for i in range(len(body))] if drip else [body]:
            self.wfile.write(part)
            self.wfile.flush()
            time.sleep(1 if drip else 0)

    def log_message(self, *_):
        """Write no log."""


class Loopback:
    """A running server: its address, its folder, and how it answers."""

    def __init__(self, folder, port):
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.answers()

    def answers(self, **manner):
        """Answer in this manner from now on, and return this."""
        (self.folder / ".manner").write_text(json.dumps(manner))
        return self

    @property
    def requests(self):
        with urlopen(f"{self.url}/-/requests", timeout=5) as answer:
            return int(answer.read())


@contextmanager
def loopback(folder):
    """Serve a folder until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Loopback(folder, int(process.stdout.readline()))
        finally:
            process.kill()


if __name__ == "__main__":
    ROOT = Path(sys.argv[1])
    socketserver.TCPServer.allow_reuse_address = True
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
