"""A small web server on the loopback that serves archives and counts what it is asked for."""

import functools
import hashlib
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edgeprune.data.cards import Archive
from edgeprune.data.fetch import CHUNK_BYTES


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; notes the requests; breaks off, answers 503 or knows byte ranges as the server says."""

    server: "Server"

    def do_GET(self) -> None:
        name = self.path.strip("/")
        asked = self.headers.get("Range", "")
        self.server.requests.append((name, asked))
        if self.server.unavailable:
            self.server.unavailable -= 1
            self.send_error(503)
            return
        path = Path(self.directory) / name
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop = self.server.break_after.pop(0) if self.server.break_after else len(data)
        for place in range(start, min(start + stop, len(data)), CHUNK_BYTES):
            self.wfile.write(data[place : min(place + CHUNK_BYTES, start + stop)])
            time.sleep(self.server.pause_s)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.folder = folder
        self.requests: list[tuple[str, str]] = []
        self.ranges = True
        self.unavailable = 0
        self.break_after: list[int] = []
        self.pause_s = 0.0

    def publish(self, name: str, data: bytes) -> Archive:
        (self.folder / name).write_bytes(data)
        md5 = hashlib.md5(data).hexdigest()
        return Archive(name, f"http://127.0.0.1:{self.server_port}/{name}", md5, len(data), True)
