"""A server on this machine that answers as the NRFA does, with files, and with the answers of further services."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

STATION = {
    "id": 1001,
    "name": "Wick",
    "catchment-area": 161.9,
    "latitude": 58.4762,
    "longitude": -3.26706,
    "bfihost": 0.3,
}


class Server(ThreadingHTTPServer):
    """Files by their path, and faults that are still to come: a status, or how many bytes of a file are sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[int] = []
        self.asked: list[tuple[str, str]] = []
        self.services: list[Callable[[str, dict[str, str]], bytes | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path, begin = urlparse(self.path), self.headers.get("Range", "")
        self.server.asked.append((self.path, begin))
        fault = self.server.faults.pop(0) if self.server.faults else 0
        if 400 <= fault < 1000:
            self.send_response(fault)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        body = self.answer(path.path, {name: value[0] for name, value in parse_qs(path.query).items()})
        if body is None:
            self.send_error(404)
            return
        first = int(begin.removeprefix("bytes=").removesuffix("-")) if begin else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.wfile.write(body[first : first + fault] if fault else body[first:])

    def answer(self, path: str, query: dict[str, str]) -> bytes | None:
        if path == "/ws/station-info":
            held = [STATION | {"id": int(one)} for one in query["station"].split(",") if one != "9"]
            return json.dumps({"data": held}).encode()
        if path == "/ws/time-series":
            kind, station = query["data-type"], query["station"]
            day = query.get("start-date", "1970-01-01")
            units = {"gdf": "m3/s", "cdr": "mm"}[kind]
            told = {
                "station": {"id": int(station)},
                "data-type": {"id": kind, "units": units},
                "data-stream": [day, 2.5],
            }
            return json.dumps(told).encode()
        answers = (service(path, query) for service in self.server.services)
        return next((one for one in answers if one is not None), self.server.files.get(path))


@contextmanager
def running_server() -> Iterator[Server]:
    held = Server()
    thread = threading.Thread(target=held.serve_forever, daemon=True)
    thread.start()
    yield held
    held.shutdown()
    held.server_close()
    thread.join()
