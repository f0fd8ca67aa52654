"""A folder as a web page that this computer serves."""

from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError

LOCAL = "127.0.0.1"
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""The first two make a page cross-origin isolated, which threads of WebAssembly need."""


class PageHandler(SimpleHTTPRequestHandler):
    """Gives the files of a folder, and no listing of it; says nothing on the terminal."""

    extensions_map = {  # noqa: RUF012, as the class above has it
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".md": "text/plain; charset=utf-8",
        ".webmanifest": "application/manifest+json",
        ".wasm": "application/wasm",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        "": "application/octet-stream",
    }

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def handle(self) -> None:
        with suppress(ConnectionError):  # a browser may leave in the middle of a file
            super().handle()

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class PreviewHandler(PageHandler):
    """Gives a page without its service worker, which would answer at this address when another page is served there."""

    def send_head(self) -> Any:
        if self.path.partition("?")[0] == "/service-worker.js":
            self.send_error(404)
            return None
        return super().send_head()


def open_server(
    folder: Path, port: int = 0, host: str = LOCAL, handler: type[PageHandler] = PageHandler
) -> ThreadingHTTPServer:
    """A server of the files in `folder`; `serve_forever()` runs it. `server_port` tells the port where `port` is 0.

    Raises:
        EdgepruneError: the port is taken, or not allowed.
    """
    try:
        return ThreadingHTTPServer((host, port), partial(handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgepruneError(f"{host}:{port}: cannot be opened ({reason}); choose another port.") from error
