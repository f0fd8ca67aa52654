"""Addresses to serve the page at, `browser://HOST:PORT`, and how a phone gets there."""

import re
import socket
from io import StringIO

from edgeprune.devices.page_server import LOCAL
from edgeprune.errors import EdgepruneError

EVERYWHERE = "0.0.0.0"
"""All addresses of this computer."""
_ADDRESS = re.compile(r"browser://(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<port>[0-9]{1,5})")


def parse(device: str) -> tuple[str, int] | None:
    """Host and port of `browser://HOST:PORT`, port 0 being any that is free; None of `browser`, which needs none."""
    if device == "browser":
        return None
    match = _ADDRESS.fullmatch(device)
    if match is None or int(match["port"]) > 65535:
        raise EdgepruneError(
            f"device {device}: is no address to serve at; give browser://{EVERYWHERE}:0 or an address of this computer "
            "and a port."
        )
    return match["host"], int(match["port"])


def own_address() -> str:
    """This computer's address in its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of no one (RFC 5737): nothing is sent, but a route is chosen
        except OSError:
            return LOCAL
        return str(probe.getsockname()[0])


def qr_code(text: str) -> str:
    """A QR code of half blocks, for a light foreground on a dark background."""
    import segno

    drawing = StringIO()
    segno.make(text, error="l", micro=False).terminal(out=drawing, compact=True)
    return drawing.getvalue().rstrip("\n")
