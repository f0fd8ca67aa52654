"""Addresses of boards, `ssh://user@host[:port]`, without anything that ssh would take for an option."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgeprune.errors import EdgepruneError


@dataclass(frozen=True)
class Address:
    """The user and host of a board; `port` None leaves it to ssh."""

    user: str
    host: str
    port: int | None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user}@{host}" + ("" if self.port is None else f":{self.port}")


def parse(device: str) -> Address:
    """The address in `ssh://user@host[:port]`; an IPv6 address stands in brackets."""
    if re.match(r"[^:]*://[^/@]*:.*@", device, flags=re.DOTALL):
        hidden = re.sub(r"(//[^:]*):.*@", r"\1:***@", device, flags=re.DOTALL)
        raise EdgepruneError(f"device {_printable(hidden)}: passwords are not taken; use a key and ssh-agent.")
    address = _split(device)
    # The parts put together again must be the text given: nothing else may stand in it.
    if address is None or address.url != device:
        shown = _printable(device)
        raise EdgepruneError(f"device {shown}: is no address of a board; give ssh://user@host or ssh://user@host:port.")
    return address


def _split(device: str) -> Address | None:
    """The parts of an address; None where one is missing or could pass for an option of ssh."""
    try:
        parts = urlsplit(device)
        user, port = parts.username or "", parts.port
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]  # not `parts.hostname`, which is in lower case
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]*", user) or not _is_host(host) or port == 0:
        return None
    return Address(user, host, port)


def _is_host(host: str) -> bool:
    if ":" not in host:
        return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return re.fullmatch(r"[A-Za-z0-9:.%_-]+", host) is not None  # the name of a network interface may hold more


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)
