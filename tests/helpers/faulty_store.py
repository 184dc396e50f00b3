"""A proxy before an S3 server that fails as stores do: 500, 503 SlowDown, 403, a hang, a reset, or all gone.

Run as ``python faulty_store.py PORT UPSTREAM_PORT``. A POST to /-/faults sets the faults, in JSON:
``every`` (n-th request fails, 0 none), ``kinds`` (in turn), ``after`` (before so many requests none fails),
``only`` (requests whose line holds this). It is a process of its own, because rasterio holds the GIL while
GDAL opens a file.
"""

import http.client
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message></Error>"
CODES = {
    "500": ("InternalError", "We encountered an internal error. Please try again."),
    "503": ("SlowDown", "Please reduce your request rate."),
    "403": ("AccessDenied", "Access Denied"),
}


class Faults:
    """The next faults, and counts of the requests so far."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.set({})

    def set(self, plan) -> None:
        self.plan = {"every": 0, "kinds": [], "after": 0, "only": "", **plan}
        self.requests = self.failed = self.sent = 0

    def next(self, line: str) -> str | None:
        with self.lock:
            self.requests += self.plan["only"] in line
            if self.plan["only"] not in line or not self.plan["every"] or self.requests <= self.plan["after"]:
                return None
            if (self.requests - self.plan["after"]) % self.plan["every"]:
                return None
            self.failed += 1
            return self.plan["kinds"][(self.failed - 1) % len(self.plan["kinds"])]


FAULTS = Faults()


class Handler(BaseHTTPRequestHandler):
    """Passes requests on, or does not."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/-/"):
            self.control(body)
            return
        fault = FAULTS.next(self.requestline)
        if fault in CODES:
            self.answer(int(fault), {}, ERROR.format(*CODES[fault]).encode())
        elif fault == "hang":
            time.sleep(4)
            self.close_connection = True
        elif fault == "reset":
            self.close_connection = True
        else:
            self.forward(body)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815  # as http.server calls them

    def control(self, body: bytes) -> None:
        if body:
            FAULTS.set(json.loads(body))
        counts = {"requests": FAULTS.requests, "failed": FAULTS.failed, "sent": FAULTS.sent}
        self.answer(200, {}, json.dumps(counts).encode())

    def forward(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]), timeout=60)
        upstream.request(self.command, self.path, body, dict(self.headers))
        response = upstream.getresponse()
        content = response.read()
        FAULTS.sent += len(content)
        self.answer(response.status, dict(response.getheaders()), content)

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = next((v for k, v in headers.items() if k.lower() == "content-length"), str(len(content)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write no log."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
