"""The page that measures, served at an address that nobody can guess, until one answer has come."""

import hmac
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from edgeprune.devices.browser_answer import PageAnswer
from edgeprune.devices.page_server import PageHandler, open_server

READ_S = 30
"""A connection that is silent for so long is closed."""


@dataclass(frozen=True, eq=False)
class Inbox:
    """Where the page's answer arrives.

    Attributes:
        limit_bytes: larger answers are not read.
        read: makes an answer, or the page's reason for having none, of what was sent and of the browser's name of
            itself; raises ValueError or RecursionError where it is neither.
        token: the first part of every path that is served.
    """

    limit_bytes: int
    read: Callable[[bytes, str], PageAnswer | str]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    answers: "queue.Queue[PageAnswer | str]" = field(default_factory=queue.Queue)


class _BenchHandler(PageHandler):
    """Gives a folder's files under the token, and takes the answer; all else is not found."""

    timeout = READ_S
    inbox: ClassVar[Inbox]

    def do_GET(self) -> None:  # noqa: N802 (the name in http.server)
        if self._strip_token():
            super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802 (the name in http.server)
        if self._strip_token():
            super().do_HEAD()

    def do_POST(self) -> None:  # noqa: N802 (the name in http.server)
        if not self._strip_token():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/answer":
            self.send_error(404)
        elif not (length.isascii() and length.isdigit()):
            self.send_error(411)
        elif len(length) > 12 or int(length) > self.inbox.limit_bytes:
            self.send_error(413)
        else:
            self._take(self.rfile.read(int(length)))

    def _take(self, content: bytes) -> None:
        try:
            answer = self.inbox.read(content, self.headers.get("User-Agent", ""))
        except (ValueError, RecursionError):
            self.send_error(400)
            return
        self.send_response(204)
        self.end_headers()
        self.inbox.answers.put(answer)

    def _strip_token(self) -> bool:
        """Take the token off the path, or answer that nothing is there."""
        _, token, *rest = [*self.path.split("/", 2), ""]
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.inbox.token.encode()):
            self.send_error(404)
            return False
        self.path = f"/{rest[0].lstrip('/')}"  # "//host/.." would be redirected to another host
        return True


@contextmanager
def serving(folder: Path, inbox: Inbox, host: str, port: int) -> Iterator[int]:
    """Serve a folder; yields the port, which is a free one where `port` is 0."""
    handler = type("Handler", (_BenchHandler,), {"inbox": inbox})
    server = open_server(folder, port, host, handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
